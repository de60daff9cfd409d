use super::*;

#[test]
fn drives_are_a_path_and_a_size() {
    let spec: DriveSpec = "/data/d1:64GiB".parse().unwrap();
    assert_eq!(spec, DriveSpec { path: "/data/d1".into(), size_bytes: 64 << 30 });
    assert_eq!("/dev/sdb".parse::<DriveSpec>().unwrap().size_bytes, 0);
    assert_eq!("/d:1.5MB".parse::<DriveSpec>().unwrap().size_bytes, 1_500_000);
    for bad in ["", ":1G", "/d:1X", "/d:", "/d:-1GiB", "/d:1e99TiB"] {
        let error = bad.parse::<DriveSpec>().unwrap_err();
        assert!(error.contains("as in"), "{bad}: {error}");
    }
}
