use super::*;

#[test]
fn addresses_are_host_and_port() {
    for good in ["st1:7000", "10.0.0.1:1", "[fe80::1]:7000", "a-b.c_d:65535"] {
        assert_eq!(good.parse::<Endpoint>().unwrap().to_string(), good);
    }
    for bad in ["", "st1", "st1:", ":7000", "st1:0", "st1:65536", "fe80::1:7000", "s t:1", "[]:1", "http://x:1"] {
        assert!(bad.parse::<Endpoint>().unwrap_err().contains("host:port"), "{bad}");
    }
}

#[test]
fn versions_are_found_in_what_slurm_prints() {
    assert_eq!(SlurmVersion::find_in("slurm-wlm 22.05.8\n"), Some(SlurmVersion::Release(22, 5)));
    assert_eq!(SlurmVersion::find_in("slurm 25.11.0-rc1"), Some(SlurmVersion::Release(25, 11)));
    assert_eq!(SlurmVersion::find_in("command not found"), None);
    assert_eq!(SlurmVersion::try_from("23.2".to_owned()).unwrap().to_string(), "23.02");
    assert!(SlurmVersion::try_from("21.08".to_owned()).unwrap_err().contains("too old"));
    assert!(SlurmVersion::try_from("new".to_owned()).unwrap_err().contains("auto"));
}

#[test]
fn waits_double_up_to_the_longest() {
    let backoff = Backoff { first: Seconds(2), longest: Seconds(300) };
    let waits: Vec<u64> = [1, 2, 3, 8, 9, 64, 65, 1000].iter().map(|n| backoff.wait_s(*n)).collect();
    assert_eq!(waits, [2, 4, 8, 256, 300, 300, 300, 300]);
    assert!(Backoff::try_from((Seconds(0), Seconds(1))).is_err());
    assert!(Backoff::try_from((Seconds(2), Seconds(1))).is_err());
}

#[test]
fn retries_are_forever_or_counted() {
    let read = |json: &str| serde_json::from_str::<Retries>(json);
    assert_eq!(read("\"forever\"").unwrap(), Retries::Forever);
    assert_eq!(read("3").unwrap(), Retries::AtMost(3));
    for bad in ["0", "-1", "\"often\"", "true"] {
        assert!(read(bad).unwrap_err().to_string().contains("forever"), "{bad}");
    }
}
