use super::*;

#[test]
fn a_wait_ends_with_the_condition_an_error_or_the_deadline_and_tells_what_was_seen() {
    let mut looks = 0;
    let third = until("third look", Duration::from_secs(60), || {
        looks += 1;
        Ok(if looks == 3 { Seen::Yes(looks) } else { Seen::NotYet(String::new()) })
    });
    assert_eq!(third.unwrap(), 3);
    let broken: Result<(), _> = until("x", Duration::from_secs(60), || Err(LabError::NodeDown("n1".to_owned())));
    assert!(matches!(broken, Err(LabError::NodeDown(_))));
    let never: Result<(), _> = until("all nodes are idle", Duration::ZERO, || Ok(Seen::NotYet("n1 down".to_owned())));
    let text = never.unwrap_err().to_string();
    assert!(text.starts_with("all nodes are idle: not so after") && text.ends_with("seen:\nn1 down"), "{text}");
}
