//! An initial file system for the kernel: a cpio archive in the form `newc`, which needs
//! no tool and no root to make.

/// The archive as it grows.
#[derive(Debug)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const DEVICE: u32 = 0o020_600;
const LINK: u32 = 0o120_777;

impl Archive {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entries: 0,
        }
    }

    pub(crate) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, (0, 0), &[]);
    }

    pub(crate) fn program(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, (0, 0), content);
    }

    pub(crate) fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, FILE, (0, 0), content);
    }

    pub(crate) fn link(&mut self, name: &str, to: &str) {
        self.entry(name, LINK, (0, 0), to.as_bytes());
    }

    /// A character device, which the kernel wants before anything could make it.
    pub(crate) fn device(&mut self, name: &str, number: (u32, u32)) {
        self.entry(name, DEVICE, number, &[]);
    }

    /// Header of thirteen hexadecimal fields, name, content; the last two end on a multiple
    /// of four bytes.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let len = |len: usize| u32::try_from(len).expect("a file of less than 4 GiB");
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            len(content.len()),
            0,
            0,
            device.0,
            device.1,
            len(name.len() + 1),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    /// As cpio reads it, which is what the kernel's own reader was written after.
    #[test]
    fn cpio_lists_what_was_put_in() {
        let mut archive = Archive::new();
        archive.folder("etc");
        archive.file("etc/odd", b"12345");
        archive.program("init", b"#!/bin/sh\n");
        archive.link("sh", "init");
        archive.device("console", (5, 1));
        let mut cpio = Command::new("cpio")
            .args(["--list", "--verbose", "--numeric-uid-gid"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bytes = archive.finish();
        cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let listed: Vec<_> = text
            .lines()
            .map(|line| {
                let mode = line.split(' ').next().unwrap();
                // The date is of the epoch; the name stands behind it.
                let (_, name) = line.split_once(" 1970 ").unwrap();
                (mode.to_owned(), name.to_owned())
            })
            .collect();
        let expected = [
            ("drwxr-xr-x", "etc"),
            ("-rw-r--r--", "etc/odd"),
            ("-rwxr-xr-x", "init"),
            ("lrwxrwxrwx", "sh -> init"),
            ("crw-------", "console"),
        ];
        let expected = expected.map(|(mode, name)| (mode.to_owned(), name.to_owned()));
        assert_eq!(listed, expected);
    }
}
