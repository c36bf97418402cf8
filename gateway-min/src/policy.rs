//! What a gateway asks of claims whose signature held: times, issuer, audience. Pure
//! over (claims, policy, now).

use crate::{error::Reject, time::UnixTime};

/// The site's rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy<'a> {
    /// The gateway's id, which `aud` must name.
    pub audience: &'a str,
    /// What `iss` must equal, where one is configured.
    pub issuer: Option<&'a str>,
    /// How far clocks may disagree, in seconds, at both ends of every window.
    pub leeway_secs: u32,
    /// Longest `exp − iat`; without `iat`, longest `exp − now`. In seconds, inclusive.
    pub max_lifetime_secs: u32,
}

/// The times of a claims set.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) exp: Option<UnixTime>,
    pub(crate) nbf: Option<UnixTime>,
    pub(crate) iat: Option<UnixTime>,
}

impl Times {
    /// Judges the times in the order life runs: it has a length, has begun, has not ended.
    pub(crate) fn judge(self, leeway_secs: u32, now: UnixTime) -> Result<(), Reject> {
        let Self { exp, nbf, iat } = self;
        let ends_by =
            |start: Option<UnixTime>| exp.zip(start).is_some_and(|(exp, start)| exp <= start);
        if ends_by(nbf) || ends_by(iat) {
            return Err(Reject::LifetimeEmpty);
        }
        let horizon = now.plus(leeway_secs);
        if let Some(nbf) = nbf
            && nbf > horizon
        {
            return Err(Reject::NotYetValid { nbf, now });
        }
        if let Some(iat) = iat
            && iat > horizon
        {
            return Err(Reject::IssuedInFuture { iat, now });
        }
        if let Some(exp) = exp
            && now >= exp.plus(leeway_secs)
        {
            return Err(Reject::Expired { exp, now });
        }
        Ok(())
    }
}

impl Policy<'_> {
    pub(crate) fn judge_times(&self, times: Times, now: UnixTime) -> Result<(), Reject> {
        times.judge(self.leeway_secs, now)?;
        let secs = times
            .exp
            .map_or(i64::MAX, |exp| exp.since(times.iat.unwrap_or(now)));
        if secs > i64::from(self.max_lifetime_secs) {
            return Err(Reject::LifetimeTooLong {
                secs,
                max_secs: self.max_lifetime_secs,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Policy, Times};
    use crate::{error::Reject, time::UnixTime};

    const POLICY: Policy<'_> = Policy {
        audience: "gw",
        issuer: None,
        leeway_secs: 30,
        max_lifetime_secs: 100,
    };

    fn at(secs: i64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    #[test]
    fn each_window_is_open_and_closed_at_the_documented_second() {
        let now = at(1000);
        let rows = [
            (
                "exp a second before the leeway ends",
                971,
                None,
                None,
                Ok(()),
            ),
            (
                "exp where the leeway ends",
                970,
                None,
                None,
                Err(Reject::Expired { exp: at(970), now }),
            ),
            ("nbf at the leeway", 1050, Some(1030), None, Ok(())),
            (
                "nbf beyond it",
                1050,
                Some(1031),
                None,
                Err(Reject::NotYetValid { nbf: at(1031), now }),
            ),
            ("iat at the leeway", 1050, None, Some(1030), Ok(())),
            (
                "iat beyond it",
                1050,
                None,
                Some(1031),
                Err(Reject::IssuedInFuture { iat: at(1031), now }),
            ),
            ("longest life from iat", 1050, None, Some(950), Ok(())),
            (
                "a second longer",
                1051,
                None,
                Some(950),
                Err(Reject::LifetimeTooLong {
                    secs: 101,
                    max_secs: 100,
                }),
            ),
            ("longest life without iat", 1100, None, None, Ok(())),
            (
                "a second longer",
                1101,
                None,
                None,
                Err(Reject::LifetimeTooLong {
                    secs: 101,
                    max_secs: 100,
                }),
            ),
            (
                "ends when issued",
                1000,
                None,
                Some(1000),
                Err(Reject::LifetimeEmpty),
            ),
            (
                "ends when it begins",
                1020,
                Some(1020),
                None,
                Err(Reject::LifetimeEmpty),
            ),
            (
                "the last second there is",
                i64::MAX,
                None,
                None,
                Err(Reject::LifetimeTooLong {
                    secs: i64::MAX - 1000,
                    max_secs: 100,
                }),
            ),
            (
                "the first second there is",
                i64::MIN,
                None,
                None,
                Err(Reject::Expired {
                    exp: at(i64::MIN),
                    now,
                }),
            ),
            (
                "issued at the first second",
                1050,
                None,
                Some(i64::MIN),
                Err(Reject::LifetimeTooLong {
                    secs: i64::MAX,
                    max_secs: 100,
                }),
            ),
        ];
        for (name, exp, nbf, iat, expected) in rows {
            let times = Times {
                exp: Some(at(exp)),
                nbf: nbf.map(at),
                iat: iat.map(at),
            };
            assert_eq!(POLICY.judge_times(times, now), expected, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        /// A model that says in wide numbers what the table says in rows.
        #[test]
        fn agrees_with_a_naive_model(
            now in near(), exp in near(), nbf in prop::option::of(near()), iat in prop::option::of(near()),
            leeway in 0_u32..40, longest in 0_u32..200,
        ) {
            let policy = Policy { leeway_secs: leeway, max_lifetime_secs: longest, ..POLICY };
            let times = Times { exp: Some(at(exp)), nbf: nbf.map(at), iat: iat.map(at) };
            let wide = i128::from;
            let starts = [nbf, iat].into_iter().flatten();
            let good = starts.clone().all(|start| start < exp)
                && starts.clone().all(|start| wide(start) <= (wide(now) + i128::from(leeway)).min(wide(i64::MAX)))
                && wide(now) < (wide(exp) + i128::from(leeway)).min(wide(i64::MAX))
                && (wide(exp) - wide(iat.unwrap_or(now))).min(wide(i64::MAX)) <= i128::from(longest);
            prop_assert_eq!(policy.judge_times(times, at(now)).is_ok(), good);
        }
    }

    /// Near each other, and now and then at an end of what a number holds.
    fn near() -> impl Strategy<Value = i64> {
        prop_oneof![20 => 900_i64..1100, 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
    }
}
