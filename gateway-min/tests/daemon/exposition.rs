//! Prometheus's text exposition format 0.0.4, read strictly, and what numbers on one page
//! owe each other.

use std::collections::BTreeMap;

/// Families that move by themselves: with the gateway's own probe, with every look at the
/// keys, with the connections of both.
const BY_THEMSELVES: [&str; 3] = [
    "gateway_probes_total",
    "gateway_key_reloads_total",
    "gateway_connections_",
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A family of samples, each by its name and labels as they are written.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// A page that was read strictly.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) families: Vec<Family>,
}

impl Page {
    /// Reads the text exposition format 0.0.4, and of its freedoms takes only those that the
    /// gateway uses: HELP, TYPE, then the samples of that family, no time stamps.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n') && !text.contains('\r'), "{text}");
        let mut families: Vec<Family> = Vec::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(!help.contains('\\'), "{line}");
                let kind = lines.next().unwrap();
                let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
                let kind = match kind {
                    "counter" => Kind::Counter,
                    "gauge" => Kind::Gauge,
                    "histogram" => Kind::Histogram,
                    _ => panic!("{kind}"),
                };
                assert!(families.iter().all(|known| known.name != name), "{line}");
                families.push(Family {
                    name: name.to_owned(),
                    kind,
                    samples: Vec::new(),
                });
            } else {
                families.last_mut().unwrap().samples.push(sample(line));
            }
        }
        families.iter().for_each(Family::judge);
        Self { families }
    }

    pub(crate) fn family(&self, name: &str) -> &Family {
        self.families
            .iter()
            .find(|family| family.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    /// The sample of this name whose one label, where it has one, is `is`.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, is: &str) -> f64 {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        let mut found = samples.filter(|sample| {
            let label = sample
                .labels
                .first()
                .map_or("", |(_, value)| value.as_str());
            sample.name == name && label == is
        });
        let sample = found.next().unwrap_or_else(|| panic!("no {name} {is}"));
        sample.value
    }

    /// What is only ever added to and does not move by itself: every such sample.
    pub(crate) fn counts(&self) -> BTreeMap<String, f64> {
        let counted = self.families.iter().filter(|family| {
            family.kind != Kind::Gauge
                && !BY_THEMSELVES.iter().any(|own| family.name.starts_with(own))
        });
        counted
            .flat_map(|family| &family.samples)
            .filter(|sample| !sample.name.ends_with("_bucket") && !sample.name.ends_with("_sum"))
            .map(|sample| {
                let labels = sample.labels.iter();
                let labels: String = labels.map(|(_, value)| format!(" {value}")).collect();
                (format!("{}{labels}", sample.name), sample.value)
            })
            .collect()
    }

    /// That no number contradicts another.
    #[track_caller]
    pub(crate) fn adds_up(&self) {
        let sum = |name: &str| self.family(name).sum();
        let open = self.value("gateway_connections_open", "");
        let ended = sum("gateway_connections_ended_total");
        let accepted = self.value("gateway_connections_accepted_total", "");
        assert_eq!(accepted, ended + open);
        let busy = self.value("gateway_slots_busy", "");
        assert!(busy <= self.value("gateway_slots", "") && busy <= open);
        let judged = self.value("gateway_judgement_duration_seconds_count", "");
        let answered = self.value("gateway_answer_duration_seconds_count", "");
        let taken = sum("gateway_messages_total");
        let refused = sum("gateway_refusals_total");
        assert!(taken <= judged && answered <= taken + refused, "{self:?}");
        assert!(answered <= judged, "{self:?}");
        let remembered = self.value("gateway_replay_entries", "");
        assert!(remembered <= self.value("gateway_replay_capacity", ""));
    }
}

impl Family {
    /// The names of the labels of its samples, `le` left out.
    pub(crate) fn labels(&self) -> Vec<&str> {
        let labels = self.samples.iter().flat_map(|sample| &sample.labels);
        let mut names: Vec<_> = labels.map(|(name, _)| name.as_str()).collect();
        names.retain(|name| *name != "le");
        names.dedup();
        names
    }

    /// All its samples together.
    pub(crate) fn sum(&self) -> f64 {
        self.samples.iter().map(|sample| sample.value).sum()
    }

    /// The values of its one label.
    pub(crate) fn label_values(&self) -> Vec<&str> {
        let labels = self.samples.iter().flat_map(|sample| &sample.labels);
        labels.map(|(_, value)| value.as_str()).collect()
    }

    /// That its samples are what its kind has.
    #[track_caller]
    fn judge(&self) {
        let name = &self.name;
        assert!(!self.samples.is_empty(), "{name}");
        for (at, sample) in self.samples.iter().enumerate() {
            let same = |other: &Sample| other.name == sample.name && other.labels == sample.labels;
            assert!(!self.samples[..at].iter().any(same), "{name}: twice");
            let whole = sample.value >= 0.0 && sample.value.fract() == 0.0;
            match self.kind {
                Kind::Gauge => assert_eq!(sample.name, *name),
                Kind::Counter => {
                    assert!(name.ends_with("_total") && whole, "{sample:?}");
                    assert_eq!(sample.name, *name);
                }
                Kind::Histogram => assert!(whole || sample.name.ends_with("_sum"), "{sample:?}"),
            }
        }
        if self.kind == Kind::Histogram {
            self.judge_histogram();
        }
    }

    #[track_caller]
    fn judge_histogram(&self) {
        let name = &self.name;
        let (last_two, buckets) = self.samples.split_last_chunk().map_or_else(
            || panic!("{name}"),
            |(buckets, last): (_, &[Sample; 2])| (last, buckets),
        );
        let [sum, count] = last_two;
        let bounds: Vec<f64> = buckets
            .iter()
            .map(|bucket| {
                assert_eq!(bucket.name, format!("{name}_bucket"));
                let [(label, bound)] = bucket.labels.as_slice() else {
                    panic!("{bucket:?}");
                };
                assert_eq!(label, "le");
                bound.parse().unwrap()
            })
            .collect();
        let counts: Vec<_> = buckets.iter().map(|bucket| bucket.value).collect();
        assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        assert!(counts.is_sorted(), "{counts:?}");
        assert_eq!(bounds.last(), Some(&f64::INFINITY));
        assert_eq!(
            (&sum.name, &count.name),
            (&format!("{name}_sum"), &format!("{name}_count"))
        );
        assert!(sum.labels.is_empty() && count.labels.is_empty());
        assert_eq!(counts.last(), Some(&count.value));
        assert_eq!(sum.value > 0.0, count.value > 0.0);
    }
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c == '_';
    name.starts_with("gateway_") && name.chars().all(good)
}

/// `name{label="value",…} number`.
#[track_caller]
fn sample(line: &str) -> Sample {
    let (name, mut rest) = line.split_at(line.find(['{', ' ']).unwrap());
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    while let Some(label) = rest.strip_prefix(if labels.is_empty() { '{' } else { ',' }) {
        let (label, quoted) = label.split_once("=\"").unwrap();
        assert!(label.chars().all(|c| c.is_ascii_lowercase()), "{line}");
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\\' => value.push(match chars.next().unwrap() {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => panic!("{line}"),
                }),
                c => value.push(c),
            }
        }
        labels.push((label.to_owned(), value));
        rest = chars.as_str();
    }
    if !labels.is_empty() {
        rest = rest.strip_prefix('}').unwrap();
    }
    Sample {
        name: name.to_owned(),
        labels,
        value: rest.strip_prefix(' ').unwrap().parse().unwrap(),
    }
}
