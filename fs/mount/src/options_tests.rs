use super::*;

fn seeds(text: &str) -> Vec<String> {
    MountSource::parse(text).unwrap().seeds
}

#[test]
fn sources() {
    let source = MountSource::parse("s1,10.0.0.2:7441/scratch").unwrap();
    assert_eq!(source.seeds, ["s1:7440", "10.0.0.2:7441"]);
    assert_eq!(source.filesystem, "scratch");
    assert_eq!(source.text, "s1,10.0.0.2:7441/scratch");
    assert_eq!(seeds("[fd00::1]:7441,[fd00::2],fd00::3/x"), ["[fd00::1]:7441", "[fd00::2]:7440", "[fd00::3]:7440"]);
}

#[test]
fn wrong_sources_say_what_is_right() {
    for text in ["", "s1", "s1/", "/scratch", "s1,/scratch", "s1:/scratch", "s1:0/x", "s1:99999/x", "a b/x", "s1:x/y"] {
        let error = MountSource::parse(text).unwrap_err();
        assert!(error.to_string().contains("HOST[:PORT][,HOST...]/FILESYSTEM"), "{text}: {error}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn options_of_ours_and_of_everybody() {
    let options =
        "rw,noatime,_netdev,noauto,user,x-systemd.automount,x-a=b,timeo=5,key=/k,node_socket=none,log=/l,name=n1";
    let options = MountOptions::parse(options, false).unwrap();
    let expected = MountOptions {
        no_atime: true,
        timeout: Duration::from_secs(5),
        key: "/k".into(),
        node_socket: None,
        log: "/l".into(),
        name: Some("n1".into()),
        ..MountOptions::default()
    };
    assert_eq!(options, expected);
    assert_eq!(MountOptions::parse("", false).unwrap(), MountOptions::default());
}

#[test]
fn the_later_of_two_opposites_counts() {
    assert!(MountOptions::parse("rw,ro", false).unwrap().read_only);
    assert!(!MountOptions::parse("ro,rw", false).unwrap().read_only);
    let default = MountOptions::default();
    assert!(!default.suid && !default.dev && default.exec);
}

#[test]
fn wrong_options_are_named() {
    for (list, part) in [
        ("ro,fast", "there are ro"),
        ("timeo=0", "from 1 to 86400"),
        ("timeo=x", "from 1 to 86400"),
        ("key=relative", "absolute path"),
        ("remount", "umount, then mount"),
        ("name=", "empty"),
        ("colour=red", "there are"),
    ] {
        let text = MountOptions::parse(list, false).unwrap_err().to_string();
        assert!(text.contains(part), "{list}: {text}");
    }
    assert!(MountOptions::parse("fast,colour=red", true).is_ok());
    assert!(MountOptions::parse("timeo=0", true).is_err());
}
