use super::*;
use std::path::Path;

#[test]
fn the_last_text_given_counts() {
    assert_eq!(kept(), Chosen::default());
    assert!(keep(SPEC, Some("scratch")) && keep(SPEC, Some("in s3://org/set/ as=set")) && keep(STRICT, None));
    assert_eq!(kept(), Chosen { spec: Some("in s3://org/set/ as=set".to_owned()), strict: true });
    assert!(!keep(SPEC, None) && !keep(3, None));
}

#[test]
fn arguments_of_plugstack_conf() {
    assert_eq!(PluginArgs::parse(&[]).job_dir, Path::new(DEFAULT_JOB_DIR));
    let args = PluginArgs::parse(&["job_dir=/srv/job".to_owned(), "strict=yes".to_owned(), "job_dir=rel".to_owned()]);
    assert_eq!(args.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(args.job_dir, Path::new("/srv/job"));
    assert_eq!(args.unknown, ["strict=yes", "job_dir=rel"]);
}
