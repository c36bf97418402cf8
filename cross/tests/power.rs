//! Power cuts under load. `board power-cuts` does as many as it is told to.

use board::cut_power;

#[test]
fn what_was_accepted_outlives_power_cuts() {
    let result = cut_power(4, 20_261_122, |_, _| {});
    assert_eq!(result.cuts, 4);
    assert!(result.accepted > 0, "{result:?}");
}
