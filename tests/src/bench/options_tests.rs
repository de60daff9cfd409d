use super::*;

fn parse(line: &str) -> Result<Options, String> {
    Options::parse(line.split_whitespace().map(str::to_owned))
}

#[test]
fn everything_is_optional() {
    assert_eq!(parse(""), Ok(Options::default()));
    assert_eq!((Options::default().entries, Options::default().files), (20_000, 5000));
}

#[test]
fn peers_are_a_list_without_repetition() {
    let options =
        parse("--peers gluster,mfs,gluster,ceph --entries 200000 --files 50 --only md --json out").expect("valid");
    assert_eq!(options.peers, [Peer::Gluster, Peer::Mfs, Peer::Ceph]);
    assert_eq!((options.entries, options.files), (200_000, 50));
    assert_eq!(options.only.as_deref(), Some("md"));
    assert_eq!(options.json, Some(PathBuf::from("out")));
}

#[test]
fn mistakes_are_named() {
    let refused = |line: &str| parse(line).expect_err("refused");
    assert_eq!(refused("--peers gluster,nfs"), "there is no peer \"nfs\"; there are: gluster, mfs, ceph");
    assert!(refused("--only fio").starts_with("there is no group fio; there are: seq, "));
    assert_eq!(refused("--entries 0"), "--entries needs a number above 0, not \"0\"");
    assert_eq!(refused("--json"), "--json needs a file");
    assert_eq!(refused("--fast"), "unknown argument --fast");
}

#[test]
fn scaling_is_measured_only_when_named() {
    assert!(!Options::default().wants(SCALE));
    assert!(Options::default().wants("md"));
    let only = parse("--only scale").expect("valid");
    assert!(only.wants(SCALE) && !only.wants("md"));
}
