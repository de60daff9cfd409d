use proptest::prelude::*;

use super::*;

#[test]
fn capacities_are_integers_with_slurms_units() {
    for (text, want) in [
        ("1K", 1024),
        ("1k", 1024),
        ("1KiB", 1024),
        ("1KB", 1000),
        ("2GiB", 2 << 30),
        ("20T", 20 << 40),
        ("007mb", 7_000_000),
        ("8191P", 8191 << 50),
    ] {
        assert_eq!(parse_capacity(text).unwrap(), want, "{text}");
    }
    for text in ["", "1", "G", "1.5G", "-1G", "1 G", "1X", "0G", "8192P", "99999999999999999999K", "10N", "1GiBs"] {
        assert!(parse_capacity(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_take_decimals_and_stay_exact() {
    for (text, want) in [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("1.5GiB", 3 << 29),
        ("0.1KB", 100),
        ("16383.999999999999999999P", u64::MAX),
    ] {
        assert_eq!(parse_size_bytes(text).unwrap(), want, "{text}");
    }
    for text in ["", ".", ".5G", "1.", "1..5G", "1.5.5G", "x", "16384P", "1e3", "-1", "1.0000000000000000001K"] {
        assert!(parse_size_bytes(text).is_err(), "{text}");
    }
}

#[test]
fn durations_have_one_unit() {
    for (text, want) in [("0s", 0), ("30m", 1800), ("72h", 259_200), ("7d", 604_800), ("3650d", MAX_DURATION_S)] {
        assert_eq!(parse_duration_s(text).unwrap(), want, "{text}");
    }
    for text in ["", "30", "m", "1.5h", "3651d", "1w", "-1s", "1h30m", "99999999999999999999s"] {
        assert!(parse_duration_s(text).is_err(), "{text}");
    }
}

#[test]
fn names_become_variables() {
    assert_eq!(env_name("my-set"), "MY_SET");
    assert_eq!(env_name("a.b_C9"), "A_B_C9");
    for name in ["a", "A.b-c_9", "...", &"x".repeat(64)] {
        assert!(check_name(name).is_ok(), "{name}");
    }
    for name in ["", ".", "..", "a/b", "a b", "é", "a%j", &"x".repeat(65)] {
        assert!(check_name(name).is_err(), "{name}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,24}") {
        let _ = (parse_capacity(&text), parse_size_bytes(&text), parse_duration_s(&text), check_name(&text));
    }

    #[test]
    fn printed_sizes_parse_back(bytes: u64, shift in 0u32..64) {
        let bytes = bytes >> shift;
        prop_assert_eq!(parse_size_bytes(&print_size(bytes)).unwrap(), bytes);
    }

    #[test]
    fn printed_capacities_parse_back(n in 1u64..10_000, unit in 0usize..15) {
        let bytes = n * UNITS[unit].1;
        prop_assume!(bytes <= MAX_CAPACITY_BYTES);
        prop_assert_eq!(parse_capacity(&print_size(bytes)).unwrap(), bytes);
    }

    #[test]
    fn printed_durations_parse_back(seconds in 0u64..=MAX_DURATION_S) {
        prop_assert_eq!(parse_duration_s(&print_duration(seconds)).unwrap(), seconds);
    }
}
