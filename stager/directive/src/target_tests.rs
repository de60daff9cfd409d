use proptest::prelude::*;

use super::*;

fn job() -> Substitutions {
    Substitutions {
        job: 12,
        array_job: Some(10),
        array_task: Some(3),
        user: "alice".into(),
        job_name: "train".into(),
        work_dir: "/home/alice/".into(),
    }
}

#[test]
fn uris_of_two_schemes() {
    for good in [
        "s3://b",
        "s3://b/",
        "s3://org-data/imagenet/2026/",
        "s3://b/%u/%j/",
        "s3://b/a=b;c/100%%/",
        "file:///p",
        "file:///p/q/",
        "file://%d/out/",
    ] {
        assert_eq!(Uri::parse(good).unwrap().as_str(), good);
    }
    for (bad, code) in [
        ("", Code::Value),
        ("/p/q", Code::Value),
        ("s3:/b", Code::Value),
        ("s3:///k", Code::Value),
        ("s3://b//k", Code::Value),
        ("s3://b/../k", Code::Value),
        ("s3://b/./k", Code::Value),
        ("s3://b c/k", Code::Value),
        ("file://host/p", Code::Value),
        ("file:///", Code::Value),
        ("file:///a/..", Code::Value),
        ("s3://b/%z", Code::Value),
        ("s3://b/100%", Code::Value),
        ("gs://b/k", Code::Unsupported),
        ("posix:/p/", Code::Unsupported),
    ] {
        assert_eq!(Uri::parse(bad).unwrap_err().code, code, "{bad}");
    }
}

#[test]
fn last_component_is_the_default_name() {
    for (uri, want) in [("s3://b/x/y/", "y"), ("s3://b/x", "x"), ("s3://b/", "b"), ("s3://b", "b"), ("file:///p/", "p")]
    {
        assert_eq!(Uri::parse(uri).unwrap().last_component(), want, "{uri}");
    }
}

#[test]
fn uris_resolve_to_places() {
    let place = |uri: &str| Uri::parse(uri).unwrap().resolve(&job());
    assert_eq!(place("s3://b/%A/%a/").unwrap(), Place::S3 { bucket: "b".into(), key: "10/3/".into() });
    assert_eq!(place("s3://b").unwrap(), Place::S3 { bucket: "b".into(), key: String::new() });
    assert_eq!(place("file://%d/%x-%j").unwrap(), Place::File { path: "/home/alice/train-12".into() });
    assert_eq!(place("s3://b/50%%").unwrap().to_string(), "s3://b/50%");
    assert!(matches!(place("s3://b/%d/k"), Err(ExpandError::Shape { .. })));
}

#[test]
fn substitutions_cannot_leave_the_path() {
    for name in ["../x", "a/b", "..", ".", "", "a\nb"] {
        let with = Substitutions { job_name: name.into(), ..job() };
        let expanded = Uri::parse("s3://b/%x/").unwrap().resolve(&with);
        assert!(matches!(expanded, Err(ExpandError::Unusable { letter: 'x', .. })), "{name:?}");
    }
    let with = Substitutions { job_name: ".".into(), ..job() };
    assert!(ScratchPath::parse("work:%x").unwrap().resolve(&with).is_err());
}

#[test]
fn array_index_needs_an_array() {
    let with = Substitutions { array_job: None, array_task: None, ..job() };
    assert_eq!(expand("%A", &with).unwrap(), "12");
    assert!(matches!(expand("%a", &with), Err(ExpandError::NotAnArrayTask { .. })));
    assert!(matches!(expand("%q", &with), Err(ExpandError::Template { .. })));
}

#[test]
fn scratch_paths_stay_inside() {
    for (good, scratch, path) in [("work:", "work", ""), ("work:r/", "work", "r/"), ("a-b:x/y:z", "a-b", "x/y:z")] {
        let parsed = ScratchPath::parse(good).unwrap();
        assert_eq!((parsed.scratch(), parsed.path(), parsed.to_string().as_str()), (scratch, path, good));
    }
    for bad in ["", "results/", ":r", "work:/r", "work:../r", "work:a/../b", "work:a//b", "work:.", "a/b:c", "work:%z"]
    {
        assert!(ScratchPath::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,40}") {
        if let Ok(uri) = Uri::parse(&text) {
            let _ = uri.resolve(&job());
        }
        if let Ok(path) = ScratchPath::parse(&text) {
            let _ = path.resolve(&job());
        }
        let _ = expand(&text, &job());
    }
}
