//! Keys and certificates that change without a restart. Every two seconds a look whether
//! their files have changed, and at once where somebody asks (SIGHUP). A new set is built
//! aside, with every check of the start; only a whole and good one is swapped in. A bad one
//! leaves the set in use as it is, is one line at `error` for each distinct fault, and shows
//! as *degraded* until a good one is there.
//!
//! What was found changed is read once more at the next look: a file that is written in
//! place can be caught half-written and finished within one tick of the file system's
//! clock, and no later look would tell. For the same reason the first look after the start
//! always reads.
//!
//! Only `daemon` calls it, from the main thread, whose stack has held the building of a set
//! before; requests know nothing of it.

use std::{
    prelude::v1::*,
    time::{Duration, Instant},
};

use log::Level;

use crate::daemon::{
    clock::Clock,
    exit::{Code, Stop},
    files::Sight,
    health::Trouble,
    log::raw,
};

/// From one look to the next. Not less than the coarsest clock of a file system, FAT's.
pub(crate) const PERIOD: Duration = Duration::from_secs(2);
/// How often a set that stays bad is tried again though nothing looks different: a lack of
/// file descriptors, or a disk that fails, leaves no trace in a file.
const RETRY: Duration = Duration::from_secs(30);
/// How often files that change while they are read are read again at once.
const TRIES: u32 = 3;

/// Files, and what is made of them.
pub(crate) trait Source {
    /// A whole set, made ready aside.
    type Loaded;

    /// What a fault leaves as it is, in words.
    const KEPT: &'static str;

    /// The setting and its files, as the log names them.
    fn place(&self) -> String;

    /// How the files stand.
    fn look(&self) -> Vec<Sight>;

    /// Reads the files, with every check of the start.
    ///
    /// # Errors
    /// [`Stop`] that names the setting, the file and the fault.
    fn load(&self) -> Result<Self::Loaded, Stop>;

    /// Puts a good set in use where it differs. What is to be told of it: something at
    /// least where it was `asked` for.
    fn take(&self, loaded: Self::Loaded, asked: bool) -> Vec<(Level, String)>;

    /// Told of every reading: whether it made a whole set, the same one or another.
    fn read_was(&self, _good: bool) {}

    /// Where it is seen that a set was not taken.
    fn trouble(&self) -> &Trouble;

    /// What such a fault is called, listed in the README.
    fn code_of(&self, code: Code) -> &'static str;
}

/// Keeps what is in use at what stands in the files.
pub(crate) struct Watch<S> {
    source: S,
    clock: Clock,
    /// How the files stood when they were last read.
    seen: Option<Vec<Sight>>,
    /// When they are read again, changed or not.
    again: Option<Instant>,
    /// The fault that was told last and has not gone away.
    told: Option<String>,
}

impl<S: Source> Watch<S> {
    /// Of files that were loaded from once.
    pub(crate) fn new(source: S, clock: Clock) -> Self {
        Self {
            source,
            clock,
            seen: None,
            again: None,
            told: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    /// One look, at `now`; reads where there is a reason to, and where it was asked for.
    pub(crate) fn look(&mut self, asked: bool, now: Instant) {
        let changed = self.seen.as_ref() != Some(&self.source.look());
        let due = self.again.is_some_and(|again| now >= again);
        if !(asked || changed || due) {
            return;
        }
        let loaded = self.read();
        self.again = if asked || changed {
            Some(now + PERIOD)
        } else {
            loaded.is_err().then(|| now + RETRY)
        };
        match loaded {
            Ok(loaded) => self.take(loaded, asked, now),
            Err(stop) => self.keep(&stop, asked, now),
        }
    }

    /// Reads the files as they stand. Where they were changed meanwhile, they are read again
    /// at once, a few times; what comes out then is judged as it is, and the next look will
    /// find them changed.
    fn read(&mut self) -> Result<S::Loaded, Stop> {
        let mut before = self.source.look();
        let mut tries = 1;
        loop {
            let loaded = self.source.load();
            let after = self.source.look();
            if before == after || tries == TRIES {
                self.seen = Some(before);
                return loaded;
            }
            before = after;
            tries += 1;
        }
    }

    /// A good set: swapped in where it differs, and told after it is so.
    fn take(&mut self, loaded: S::Loaded, asked: bool, now: Instant) {
        let news = self.source.take(loaded, asked);
        self.source.trouble().set(None, (self.clock)(), now);
        self.source.read_was(true);
        if self.told.take().is_some() {
            log::info!("{}: good again", raw(&self.source.place()));
        }
        for (level, told) in news {
            log::log!(level, "{told}");
        }
    }

    /// A bad set: the one in use stays, and everybody can see why.
    fn keep(&mut self, stop: &Stop, asked: bool, now: Instant) {
        let code = self.source.code_of(stop.code);
        self.source.trouble().set(Some(code), (self.clock)(), now);
        self.source.read_was(false);
        let fault = stop.lines.join("; ");
        if asked || self.told.as_ref() != Some(&fault) {
            log::error!("{}: not taken, {}", raw(&fault), S::KEPT);
        }
        self.told = Some(fault);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        prelude::v1::*,
        sync::Arc,
        time::{Duration, Instant},
    };

    use base64ct::{Base64UrlUnpadded, Encoding};
    use ed25519_dalek::SigningKey;

    use super::{PERIOD, RETRY, Watch};
    use crate::{
        UnixTime,
        daemon::{
            files::{look, tests::Folder},
            keys::{KeyFiles, KeyRing, load_path, moves},
        },
    };

    const A_MOMENT: Duration = Duration::from_millis(1);

    fn jwk(kid: &str, secret: u8) -> String {
        let key = SigningKey::from_bytes(&[secret; 32]).verifying_key();
        let x = Base64UrlUnpadded::encode_string(key.as_bytes());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    }

    fn watched(folder: &Folder, text: &str) -> (Watch<KeyFiles>, Arc<KeyRing>) {
        let path = folder.file("key", text, 0o600);
        let loaded = load_path("GATEWAY_KEYS", &path).unwrap();
        let ring = Arc::new(KeyRing::new(loaded));
        let files = KeyFiles::new("GATEWAY_KEYS", path, Arc::clone(&ring));
        let watch = Watch::new(files, || UnixTime::EPOCH);
        (watch, ring)
    }

    fn kids(ring: &KeyRing) -> Vec<String> {
        ring.current().keys.kids().map(str::to_owned).collect()
    }

    /// Writes the file so that no look could tell.
    fn write_unseen(folder: &Folder, text: &str, watch: &mut Watch<KeyFiles>) {
        let path = folder.file("key", text, 0o600);
        watch.seen = Some(vec![look(&path)]);
    }

    #[test]
    fn what_leaves_no_trace_is_found_by_reading_once_more() {
        let folder = Folder::new("watch-trace");
        let (mut watch, ring) = watched(&folder, &jwk("a", 1));
        let start = Instant::now();

        folder.file("key", &jwk("b", 2), 0o600);
        watch.look(false, start);
        assert_eq!(kids(&ring), ["b"]);
        // It was not finished when it was read.
        write_unseen(&folder, &jwk("c", 3), &mut watch);
        watch.look(false, start + PERIOD - A_MOMENT);
        assert_eq!(kids(&ring), ["b"]);
        watch.look(false, start + PERIOD);
        assert_eq!(kids(&ring), ["c"]);
        // By now it has settled: nothing is read but what looks different, or when asked.
        write_unseen(&folder, &jwk("d", 4), &mut watch);
        watch.look(false, start + RETRY * 10);
        assert_eq!(kids(&ring), ["c"]);
        watch.look(true, start + RETRY * 10);
        assert_eq!(kids(&ring), ["d"]);
    }

    #[test]
    fn the_first_look_reads_whatever_was_loaded_before() {
        let folder = Folder::new("watch-first");
        let (mut watch, ring) = watched(&folder, &jwk("a", 1));
        folder.file("key", &jwk("b", 1), 0o600);
        watch.look(false, Instant::now());
        assert_eq!(kids(&ring), ["b"]);
    }

    #[test]
    fn a_fault_that_leaves_no_trace_when_it_goes_is_tried_again() {
        let folder = Folder::new("watch-retry");
        let (mut watch, ring) = watched(&folder, &jwk("a", 1));
        let start = Instant::now();
        folder.file("key", "garbage", 0o600);
        watch.look(false, start);
        watch.look(false, start + PERIOD);
        assert!(ring.trouble().get().is_some());
        write_unseen(&folder, &jwk("b", 2), &mut watch);
        watch.look(false, start + PERIOD + RETRY - A_MOMENT);
        assert_eq!(
            (ring.trouble().get().is_some(), kids(&ring)),
            (true, vec!["a".to_owned()])
        );
        watch.look(false, start + PERIOD + RETRY);
        assert_eq!(
            (ring.trouble().get(), kids(&ring)),
            (None, vec!["b".to_owned()])
        );
        assert_eq!((ring.bad.get(), ring.good.get()), (2, 1));
    }

    #[test]
    fn whoever_has_begun_keeps_the_set_that_it_began_with() {
        let folder = Folder::new("watch-held");
        let (mut watch, ring) = watched(&folder, &jwk("a", 1));
        let held = ring.current();
        folder.file("key", &jwk("b", 2), 0o600);
        watch.look(false, Instant::now());
        assert!(held.keys.kids().eq(["a"]));
        assert_eq!(kids(&ring), ["b"]);
        assert_eq!(
            Arc::strong_count(&held),
            1,
            "freed with the last hand on it"
        );
    }

    #[test]
    fn an_unchanged_set_is_not_exchanged() {
        let folder = Folder::new("watch-same");
        let (mut watch, ring) = watched(&folder, &jwk("a", 1));
        let before = ring.current();
        folder.file("key", &format!(" {}", jwk("a", 1)), 0o600);
        watch.look(true, Instant::now());
        assert!(Arc::ptr_eq(&before, &ring.current()));
    }

    #[test]
    fn what_moved_is_told_by_kid_and_key() {
        let folder = Folder::new("watch-moves");
        let set = |keys: &[(&str, u8)]| {
            let keys: Vec<_> = keys.iter().map(|(kid, secret)| jwk(kid, *secret)).collect();
            let text = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
            let path = folder.file("set", &text, 0o600);
            load_path("GATEWAY_KEYS", &path).unwrap().keys
        };
        let before = set(&[("a", 1), ("b", 2)]);
        for (name, after, told) in [
            ("the same", set(&[("a", 1), ("b", 2)]), &[][..]),
            ("another order", set(&[("b", 2), ("a", 1)]), &[]),
            (
                "one more",
                set(&[("a", 1), ("c\\n", 3), ("b", 2)]),
                &[r#"key "c\n" came"#],
            ),
            ("one less", set(&[("b", 2)]), &[r#"key "a" went"#]),
            (
                "another kid",
                set(&[("a", 1), ("c", 2)]),
                &[r#"key "c" came"#, r#"key "b" went"#],
            ),
            (
                "exchanged",
                set(&[("a", 2), ("b", 1)]),
                &[
                    r#"key "a" stands for another key now"#,
                    r#"key "b" stands for another key now"#,
                ],
            ),
        ] {
            assert_eq!(moves(&before, &after), told, "{name}");
        }
    }
}
