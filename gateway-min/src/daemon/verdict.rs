//! `gateway-min verify`: tokens from standard input, one a line, and for each one line of
//! JSON: the verdict that the daemon with these settings would give to its first
//! presentation. An operator's first tool for "why was this refused?".
//!
//! A line that begins with `"` is a JSON string, for tokens with odd bytes in them; of any
//! other the line end alone is taken away. Nothing is remembered between lines.

use std::{
    io::{self, BufRead, Write},
    prelude::v1::*,
};

use super::{
    intake::Intake,
    keys::Keys,
    listen::{json, put},
};
use crate::{
    Reject, Scratch, UnixTime, json_string,
    limits::{MAX_BODY, MAX_TOKEN},
};

/// Longest line that is kept, in bytes: a token with every character written as `\u00xx`,
/// quotes, and a line end. What a longer line holds is too long a token in any spelling.
const MAX_LINE: usize = MAX_TOKEN * 6 + 4;

/// Judges every line.
///
/// # Errors
/// Those of reading and writing.
pub(crate) fn run(
    intake: &Intake,
    now: Option<UnixTime>,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut text = vec![0; MAX_LINE.max(MAX_BODY)];
    let mut scratch = Box::<Scratch>::default();
    let mut verdict = Vec::new();
    let set = intake.ring().current();
    while let Some(len) = read_line(&mut input, &mut line)? {
        verdict.clear();
        let token = token_of(&line, len, &mut text);
        judge(intake, &set.keys, now, token, &mut scratch, &mut verdict);
        verdict.push(b'\n');
        output.write_all(&verdict)?;
    }
    output.flush()
}

/// The token in a line of `len` bytes, of which `line` has the first.
fn token_of<'a>(line: &'a [u8], len: usize, text: &'a mut [u8]) -> Result<&'a [u8], Reject> {
    if len > line.len() {
        Err(Reject::TokenTooLong { len })
    } else if line.starts_with(b"\"") {
        json_string(line, text)
    } else {
        Ok(line)
    }
}

/// Writes the verdict about a token.
fn judge(
    intake: &Intake,
    keys: &Keys,
    now: Option<UnixTime>,
    token: Result<&[u8], Reject>,
    scratch: &mut Scratch,
    verdict: &mut Vec<u8>,
) {
    match token.and_then(|token| intake.judge(keys, token, now, scratch)) {
        Ok(message) => {
            put(
                verdict,
                format_args!(
                    r#"{{"outcome":"accepted","jti":{},"kid":{},"routed":{},"expires":{}"#,
                    json(message.jti()),
                    json(message.kid()),
                    message.action().is_some(),
                    message.expires(),
                ),
            );
            for (name, value) in [
                ("sub", message.subject()),
                ("action_type", message.action_type()),
            ] {
                if let Some(value) = value {
                    put(verdict, format_args!(r#","{name}":{}"#, json(value)));
                }
            }
            put(verdict, format_args!("}}"));
        }
        Err(reject) => put(
            verdict,
            format_args!(
                r#"{{"outcome":"refused","code":"{}","stage":"{}","detail":{}}}"#,
                reject.code(),
                reject.stage(),
                json(&reject.to_string()),
            ),
        ),
    }
}

/// The next line without its end, at most [`MAX_LINE`] of its bytes, and its real length;
/// `None` at the end of input.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<usize>> {
    line.clear();
    let mut len = 0;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok((len > 0).then_some(len));
        }
        let (part, used) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&chunk[..end], end + 1),
            None => (chunk, chunk.len()),
        };
        len += part.len();
        let room = MAX_LINE.saturating_sub(line.len()).min(part.len());
        line.extend_from_slice(&part[..room]);
        let ended = used > part.len();
        input.consume(used);
        if ended {
            if len == line.len() && line.last() == Some(&b'\r') {
                line.pop();
                len -= 1;
            }
            return Ok(Some(len));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::BufReader, prelude::v1::*};

    use super::{MAX_LINE, read_line};

    #[test]
    fn lines_are_cut_without_growing() {
        let long = "x".repeat(MAX_LINE + 10);
        let text = format!("a\r\n\nb\rc\n{long}\nlast");
        for capacity in [1, 7, 100_000] {
            let mut input = BufReader::with_capacity(capacity, text.as_bytes());
            let mut line = Vec::new();
            let mut got = Vec::new();
            while let Some(len) = read_line(&mut input, &mut line).unwrap() {
                got.push((len, line.len()));
            }
            assert_eq!(
                got,
                [(1, 1), (0, 0), (3, 3), (MAX_LINE + 10, MAX_LINE), (4, 4)],
                "{capacity}"
            );
        }
    }
}
