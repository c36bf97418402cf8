//! What `GET /metrics` answers: everything that is counted, in Prometheus's text exposition
//! format 0.0.4.
//!
//! It reads what others count and counts nothing itself. No label has a value that came from
//! outside: they are codes and names of this program. The page is not one snapshot, and
//! still contradicts itself in nothing obvious, because it reads backwards: a message is
//! judged, has its outcome and is answered, so answers are read first and judgements last,
//! and there are never more of the former than of the latter. Connections are read under
//! their table's lock: those that were accepted are those that are open and those that
//! ended, exactly. Called by `route` alone.

use core::fmt;
#[cfg(feature = "journal")]
use std::sync::atomic::Ordering;
use std::{prelude::v1::*, time::Duration};

#[cfg(feature = "journal")]
use super::{deliver::Queue, journal::Journal};
use super::{
    listen::put,
    log,
    meter::{Counter, Histogram, seconds},
    route::State,
};
#[cfg(feature = "journal")]
use crate::UnixTime;

/// The type of the page.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where there is nothing to tell yet: a number that compares with nothing.
const NOTHING: &str = "NaN";

/// Writes the page.
pub(crate) fn write(state: &State, body: &mut Vec<u8>) {
    let mut page = Page { body, name: "" };
    messages(state, &mut page);
    #[cfg(feature = "journal")]
    deliveries(&state.queue, state.intake.time(), &mut page);
    connections(state, &mut page);
    memory(state, &mut page);
    #[cfg(feature = "journal")]
    if let Some(kept) = &state.journal {
        journal(kept, &mut page);
    }
    process(state, &mut page);
}

/// Messages, in the order that the module's documentation gives.
fn messages(state: &State, page: &mut Page<'_>) {
    let tallies = &state.tallies;
    page.histogram(
        "gateway_answer_duration_seconds",
        "Time from the first byte of a judged POST /do to its answer having been written.",
        &tallies.answers,
    );
    page.family(
        "gateway_messages_total",
        Kind::Counter,
        "Messages that were taken, by outcome.",
    );
    for (outcome, counter) in [
        ("accepted", &tallies.accepted),
        ("duplicate", &tallies.duplicates),
    ] {
        page.labelled("outcome", outcome, counter.get());
    }
    page.family(
        "gateway_refusals_total",
        Kind::Counter,
        "Requests that were refused, by code.",
    );
    for (code, count) in tallies.refusals() {
        page.labelled("code", code, count);
    }
    page.histogram(
        "gateway_judgement_duration_seconds",
        "Time from the last byte of a POST /do to the verdict on its token.",
        &tallies.judgements,
    );
    page.gauge(
        "gateway_last_accepted_age_seconds",
        "Time since a message was accepted; NaN before the first.",
        age(tallies.last_accepted.age()),
    );
    page.gauge(
        "gateway_last_accepted_skew_seconds",
        "Time from the iat of the last accepted message that has one to its acceptance; NaN before the first.",
        fmt::from_fn(|f| match tallies.skew_secs() {
            Some(secs) => write!(f, "{secs}"),
            None => f.write_str(NOTHING),
        }),
    );
}

/// Deliveries; all at rest where nothing is delivered.
#[cfg(feature = "journal")]
fn deliveries(queue: &Queue, now: UnixTime, page: &mut Page<'_>) {
    page.family(
        "gateway_deliveries_total",
        Kind::Counter,
        "Messages that left the queue of deliveries, by how.",
    );
    for (outcome, count) in queue.outcomes.ended() {
        page.labelled("outcome", outcome, count);
    }
    page.family(
        "gateway_delivery_faults_total",
        Kind::Counter,
        "Attempts to deliver that failed, by phase.",
    );
    for (phase, count) in queue.outcomes.failed() {
        page.labelled("phase", phase, count);
    }
    page.gauge(
        "gateway_delivery_failing",
        "1 where the last attempts to deliver failed, else 0.",
        u8::from(queue.trouble.get().is_some()),
    );
    let (waiting, oldest) = queue.waiting();
    page.gauge(
        "gateway_deliveries_waiting",
        "Messages that are not delivered.",
        waiting,
    );
    page.gauge(
        "gateway_delivery_oldest_age_seconds",
        "Time since the oldest of them was accepted, by the wall clock; NaN where there is none.",
        fmt::from_fn(|f| match oldest {
            Some(accepted) => write!(f, "{}", now.since(accepted)),
            None => f.write_str(NOTHING),
        }),
    );
    page.gauge(
        "gateway_last_delivered_age_seconds",
        "Time since a message was delivered; NaN before the first.",
        age(queue.last.age()),
    );
}

/// The main listener's connections.
fn connections(state: &State, page: &mut Page<'_>) {
    let census = state.slots.census();
    page.counter(
        "gateway_connections_accepted_total",
        "Connections that the system handed over.",
        census.accepted,
    );
    page.family(
        "gateway_connections_ended_total",
        Kind::Counter,
        "Connections that are over, by how they ended.",
    );
    for (fate, count) in census.ended {
        page.labelled("fate", fate, count);
    }
    page.gauge(
        "gateway_connections_open",
        "Connections that are not over, those that wait for a slot among them.",
        census.open,
    );
    page.counter(
        "gateway_accept_errors_total",
        "Times that the system failed to hand over a connection.",
        census.accept_errors,
    );
    page.gauge("gateway_slots", "Slots for connections.", census.slots);
    page.gauge(
        "gateway_slots_busy",
        "Slots that have a connection.",
        census.busy,
    );
}

/// What is remembered: messages, keys, and how keys and probes came on.
fn memory(state: &State, page: &mut Page<'_>) {
    let (held, capacity) = state.intake.remembered();
    page.gauge(
        "gateway_replay_entries",
        "Messages that are remembered, expired ones whose room was not needed yet among them.",
        held,
    );
    page.gauge(
        "gateway_replay_capacity",
        "Messages that can be remembered.",
        capacity,
    );
    let ring = state.intake.ring();
    let set = ring.current();
    page.gauge("gateway_keys", "Keys in use.", set.keys.len());
    page.gauge(
        "gateway_key_set_age_seconds",
        "Time since the keys in use were read.",
        seconds(set.read.elapsed()),
    );
    page.results(
        "gateway_key_reloads_total",
        "Readings of the keys after the start, by result.",
        &ring.good,
        &ring.bad,
    );
    let health = &state.health;
    page.results(
        "gateway_probes_total",
        "Requests that the gateway made to itself, by result.",
        &health.good,
        &health.bad,
    );
}

/// What is kept on the disk.
#[cfg(feature = "journal")]
fn journal(journal: &Journal, page: &mut Page<'_>) {
    let gauges = journal.gauges();
    page.gauge(
        "gateway_journal_writable",
        "1 where messages can be kept, else 0.",
        u8::from(journal.writable()),
    );
    for (name, help, value) in [
        (
            "gateway_journal_bytes",
            "Size of the journal.",
            gauges.bytes.load(Ordering::Relaxed),
        ),
        (
            "gateway_journal_max_bytes",
            "Largest size of the journal.",
            journal.max_bytes(),
        ),
        (
            "gateway_journal_segments",
            "Files of the journal.",
            gauges.segments.load(Ordering::Relaxed),
        ),
        (
            "gateway_journal_messages",
            "Messages in the journal, delivered and expired ones that are not removed yet among them.",
            gauges.messages.load(Ordering::Relaxed),
        ),
    ] {
        page.gauge(name, help, value);
    }
    page.histogram(
        "gateway_journal_commit_seconds",
        "From handing something to the disk to its being there; one commit can be of many messages.",
        &gauges.commits,
    );
    page.counter(
        "gateway_journal_failures_total",
        "Commits that the disk refused.",
        gauges.failures.get(),
    );
}

/// The process itself.
fn process(state: &State, page: &mut Page<'_>) {
    page.counter(
        "gateway_log_lines_lost_total",
        "Log lines that were never printed.",
        log::lost(),
    );
    page.counter(
        "gateway_panics_total",
        "Panics, each of which ended one request or one connection at most.",
        log::panics(),
    );
    page.gauge(
        "gateway_clock_plausible",
        "1 where messages can be judged by the clock, else 0.",
        u8::from(state.intake.clock_is_set()),
    );
    page.gauge(
        "gateway_uptime_seconds",
        "Time since the start.",
        seconds(state.born.elapsed()),
    );
    page.family(
        "gateway_build_info",
        Kind::Gauge,
        "Always 1; the label is the version.",
    );
    page.labelled("version", env!("CARGO_PKG_VERSION"), 1);
}

fn age(age: Option<Duration>) -> impl fmt::Display {
    fmt::from_fn(move |f| match age {
        Some(age) => write!(f, "{}", seconds(age)),
        None => f.write_str(NOTHING),
    })
}

/// What a family's numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The page as it is written.
struct Page<'a> {
    body: &'a mut Vec<u8>,
    /// The family that samples belong to.
    name: &'static str,
}

impl Page<'_> {
    /// Begins a family; its samples follow.
    fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        put(
            self.body,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        );
    }

    /// A sample without labels.
    fn alone(&mut self, value: impl fmt::Display) {
        put(self.body, format_args!("{} {value}\n", self.name));
    }

    /// A sample with one label.
    fn labelled(&mut self, label: &str, is: &str, value: impl fmt::Display) {
        let (name, is) = (self.name, escaped(is));
        put(
            self.body,
            format_args!("{name}{{{label}=\"{is}\"}} {value}\n"),
        );
    }

    fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, Kind::Counter, help);
        self.alone(value);
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: impl fmt::Display) {
        self.family(name, Kind::Gauge, help);
        self.alone(value);
    }

    /// What went well or did not.
    fn results(&mut self, name: &'static str, help: &str, good: &Counter, bad: &Counter) {
        self.family(name, Kind::Counter, help);
        self.labelled("result", "good", good.get());
        self.labelled("result", "bad", bad.get());
    }

    fn histogram(&mut self, name: &'static str, help: &str, histogram: &Histogram) {
        self.family(name, Kind::Histogram, help);
        let read = histogram.read();
        for (bound, count) in read.buckets {
            let bound = seconds(bound);
            put(
                self.body,
                format_args!("{name}_bucket{{le=\"{bound}\"}} {count}\n"),
            );
        }
        let (count, sum) = (read.count, seconds(read.sum));
        put(
            self.body,
            format_args!(
                "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}\n"
            ),
        );
    }
}

/// Text as a label's value.
fn escaped(text: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for c in text.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::{prelude::v1::*, time::Duration};

    use super::{Counter, Histogram, Kind, Page, age};

    /// What `write` writes.
    fn written(write: impl FnOnce(&mut Page<'_>)) -> String {
        let mut body = Vec::new();
        write(&mut Page {
            body: &mut body,
            name: "",
        });
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn samples_follow_what_they_are() {
        let good = Counter::new();
        good.add();
        let text = written(|page| {
            page.counter("a_total", "As.", 7);
            page.gauge("b_seconds", "Age of b.", age(None));
            page.gauge(
                "c_seconds",
                "Age of c.",
                age(Some(Duration::from_millis(20))),
            );
            page.results("d_total", "Ds.", &good, &Counter::new());
        });
        assert_eq!(
            text,
            "# HELP a_total As.\n# TYPE a_total counter\na_total 7\n\
             # HELP b_seconds Age of b.\n# TYPE b_seconds gauge\nb_seconds NaN\n\
             # HELP c_seconds Age of c.\n# TYPE c_seconds gauge\nc_seconds 0.02\n\
             # HELP d_total Ds.\n# TYPE d_total counter\n\
             d_total{result=\"good\"} 1\nd_total{result=\"bad\"} 0\n"
        );
    }

    #[test]
    fn a_label_cannot_end_its_line_or_its_quotes() {
        let text = written(|page| {
            page.family("a", Kind::Gauge, "A.");
            page.labelled("is", "x\\\"} 1\ny é", 1);
        });
        let (_, sample) = text.split_once("gauge\n").unwrap();
        assert_eq!(sample, "a{is=\"x\\\\\\\"} 1\\ny é\"} 1\n");
    }

    #[test]
    fn a_histogram_ends_with_all_its_sum_and_its_count() {
        let histogram = Histogram::default();
        for millis in [1, 3, 30_000] {
            histogram.add(Duration::from_millis(millis));
        }
        let text = written(|page| page.histogram("h_seconds", "H.", &histogram));
        for line in [
            "h_seconds_bucket{le=\"0.00002\"} 0\n",
            "h_seconds_bucket{le=\"0.001\"} 1\n",
            "h_seconds_bucket{le=\"0.002\"} 1\n",
            "h_seconds_bucket{le=\"0.005\"} 2\n",
            "h_seconds_bucket{le=\"10\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(
            text.ends_with("{le=\"+Inf\"} 3\nh_seconds_sum 30.004\nh_seconds_count 3\n"),
            "{text}"
        );
    }
}
