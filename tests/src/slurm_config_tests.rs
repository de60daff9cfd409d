use super::*;

#[test]
fn a_key_of_the_fragment_replaces_the_lab_s_own_whatever_its_case() {
    let fragment = "# Forebay\nprologflags=Alloc\nProlog=/usr/sbin/forebay-prolog\n".to_owned();
    let settings = SlurmSettings { fragment, ..SlurmSettings::default() };
    let conf = slurm_conf(&settings, "ctl", "10.77.0.10", &["n1".to_owned(), "n2".to_owned()]);
    assert!(!conf.contains("PrologFlags=Alloc,Contain"), "{conf}");
    assert!(conf.contains("\nprologflags=Alloc\nProlog=/usr/sbin/forebay-prolog\n"), "{conf}");
    assert!(conf.contains("\nPrologEpilogTimeout=60\n"), "{conf}");
    assert!(conf.contains("\nSlurmctldHost=ctl(10.77.0.10)\n"), "{conf}");
    assert!(conf.contains("\nNodeName=n1,n2 CPUs=4 "), "{conf}");
}

#[test]
fn comments_and_free_text_set_no_key() {
    assert_eq!(key("# a=b"), None);
    assert_eq!(key("include /etc/x=y"), None);
    assert_eq!(key("  Prolog = /x"), Some("prolog".to_owned()));
}
