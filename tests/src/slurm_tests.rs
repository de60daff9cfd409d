use super::*;

const SHOW_JOB: &str = "\
JobId=7 JobName=wrap
   UserId=alice(2001) GroupId=alice(2001) MCS_label=N/A
   JobState=PENDING Reason=launch failed requeued held Dependency=(null)
   NodeList=n[1-2]
   AdminComment=forebay: 43% 512M/1.2G Reason=x ETA 11:31
   WorkDir=/home/alice
";

#[test]
fn fields_are_read_with_spaces_in_values_and_equal_signs_in_comments() {
    let job = Job::parse(SHOW_JOB);
    assert_eq!(job.state(), "PENDING");
    assert_eq!(job.reason(), "launch failed requeued held");
    assert_eq!(job.field("AdminComment"), "forebay: 43% 512M/1.2G Reason=x ETA 11:31");
    assert_eq!(job.field("NodeList"), "n[1-2]");
    assert_eq!(job.field("Dependency"), "(null)");
    assert!(!job.is_over());
}

#[test]
fn only_n_and_a_number_is_a_compute_node() {
    assert!(is_compute("n12"));
    assert!(!is_compute("ctl") && !is_compute("n") && !is_compute("nfs1"));
}
