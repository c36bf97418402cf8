//! What `benches/http/run.sh` needs beside its shell: signed messages, the price of one
//! verification, and the time from a process's start to its first answer.
//!
//! `http messages COUNT FOLDER` writes distinct messages, one a line, for us (`eddsa.txt`) and
//! with the same claims for a verifier of ES256 (`es256.txt`), and both public keys.
//! `http verification CALLS` prints the CPU microseconds of one signature check.
//! `http port` prints a free port of the loopback.
//! `http starts COUNT PROGRAM KEY` prints the milliseconds of each start.

use std::{
    error::Error,
    fs,
    hint::black_box,
    io::{BufWriter, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64ct::{Base64, Base64UrlUnpadded, Encoding, LineEnding};
use ed25519_dalek::{Signer, SigningKey};
use gateway_bench::{AUDIENCE, Bench, ISSUER, SIGNED};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// How long a start may take before it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// What stands before the point in the SPKI of a P-256 key (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["messages", count, folder] => count
            .parse()
            .map_err(Into::into)
            .and_then(|count| messages(count, folder.as_ref())),
        ["verification", calls] => calls.parse().map_err(Into::into).and_then(verification),
        ["port"] => free().map(|address| println!("{}", address.port())),
        ["starts", count, program, key] => count
            .parse()
            .map_err(Into::into)
            .and_then(|count| starts(count, program, key)),
        _ => Err(
            "http messages COUNT FOLDER | verification CALLS | port | starts COUNT PROGRAM KEY"
                .into(),
        ),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The claims of message `n`, padded so that its signed part is as long as that of the other
/// measurements.
fn claims(n: u32, now: u64, pad: usize) -> String {
    serde_json::json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 36_000,
        "jti": format!("3d0c4a3c-41a7-4c7f-9a5f-{n:012x}"), "sub": "appointment/1", "schema_version": 1,
        "action_type": "worklist.create_item",
        "parameters": {"worklist_item": {"accession_number": "A1", "name": "x".repeat(pad)}},
    })
    .to_string()
}

/// Signed parts are equally long but for what another `alg` and the rounding of base64 make.
fn signed(header: &str, n: u32, now: u64) -> String {
    let pad = |pad| {
        let claims = claims(n, now, pad);
        format!(
            "{header}.{}",
            Base64UrlUnpadded::encode_string(claims.as_bytes())
        )
    };
    // Four characters of base64 for three of claims.
    let missing = SIGNED.saturating_sub(pad(0).len());
    pad(missing * 3 / 4)
}

fn messages(count: u32, folder: &Path) -> Done {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let ours = SigningKey::from_bytes(&[7; 32]);
    let x = Base64UrlUnpadded::encode_string(ours.verifying_key().as_bytes());
    fs::write(
        folder.join("eddsa.jwk"),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"bench","x":"{x}"}}"#),
    )?;
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
        .map_err(|_unspecified| "no key could be made")?;
    let theirs =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|rejected| rejected.to_string())?;
    let spki = [&P256_PREFIX, theirs.public_key().as_ref()].concat();
    let mut text = vec![0; 200];
    let text = base64_lines(&spki, &mut text)?;
    fs::write(
        folder.join("es256.pem"),
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"),
    )?;

    let header = |alg| {
        Base64UrlUnpadded::encode_string(
            format!(r#"{{"alg":"{alg}","kid":"bench","typ":"gateway-message+jwt"}}"#).as_bytes(),
        )
    };
    let (eddsa, es256) = (header("EdDSA"), header("ES256"));
    let mut for_us = BufWriter::new(fs::File::create(folder.join("eddsa.txt"))?);
    let mut for_them = BufWriter::new(fs::File::create(folder.join("es256.txt"))?);
    for n in 0..count {
        let text = signed(&eddsa, n, now);
        let signature = ours.sign(text.as_bytes()).to_bytes();
        writeln!(
            for_us,
            "{text}.{}",
            Base64UrlUnpadded::encode_string(&signature)
        )?;
        let text = signed(&es256, n, now);
        let signature = theirs
            .sign(&random, text.as_bytes())
            .map_err(|_unspecified| "not signed")?;
        writeln!(
            for_them,
            "{text}.{}",
            Base64UrlUnpadded::encode_string(signature.as_ref())
        )?;
    }
    for_us.flush()?;
    for_them.flush()?;
    Ok(())
}

fn base64_lines<'a>(bytes: &[u8], into: &'a mut [u8]) -> Done<&'a str> {
    let mut encoder = base64ct::Encoder::<Base64>::new_wrapped(into, 64, LineEnding::LF)?;
    encoder.encode(bytes)?;
    Ok(encoder.finish()?)
}

/// CPU time of this thread so far: the first number of its `schedstat`, in nanoseconds.
fn cpu() -> Done<u64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().unwrap_or_default().parse()?)
}

fn verification(calls: u32) -> Done {
    let bench = Bench::new();
    let before = cpu()?;
    for _ in 0..calls {
        if !black_box(&bench).verify_ours() {
            return Err("a good signature did not hold".into());
        }
    }
    let nanos = u32::try_from(cpu()? - before)?;
    println!("{:.2}", f64::from(nanos) / f64::from(calls) / 1000.0);
    Ok(())
}

/// A started gateway; ended with its measurement, whatever became of that.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// An address that is free when it is asked for; whoever takes it meanwhile fails the
/// measurement.
fn free() -> Done<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn starts(count: u32, program: &str, key: &str) -> Done {
    for _ in 0..count {
        let address = free()?;
        let begun = Instant::now();
        let mut gateway = Started(
            Command::new(program)
                .env_clear()
                .env("GATEWAY_LISTEN", address.to_string())
                .env("GATEWAY_ID", AUDIENCE)
                .env("JWT_PUBLIC_KEY", key)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?,
        );
        while !answers(address) {
            if let Some(status) = gateway.0.try_wait()? {
                return Err(format!("{program} ended: {status}").into());
            }
            if begun.elapsed() > PATIENCE {
                return Err("no answer".into());
            }
            thread::yield_now();
        }
        println!("{:.2}", begun.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(())
}

/// Whether a request is answered at this address by now.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let asked = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    });
    let mut answer = Vec::new();
    asked.and_then(|()| stream.read_to_end(&mut answer)).is_ok()
        && answer.starts_with(b"HTTP/1.1 200 ")
}
