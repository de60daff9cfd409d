use super::*;

#[test]
fn messages_say_whose_fault_it_is() {
    let kind = |text: &str| failure("7", "scontrol release 7", text.to_owned());
    assert!(matches!(kind("Invalid job id specified for job 99"), SlurmError::NotThere { .. }));
    assert!(matches!(kind("Job has already finished for job 2"), SlurmError::NotThere { .. }));
    assert!(matches!(kind("Unable to contact slurm controller (connect failure)"), SlurmError::Down { .. }));
    assert!(matches!(kind("Access/permission denied"), SlurmError::Refused { .. }));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_with_the_setting() {
    let slurm = SlurmCommands::new("/nowhere/squeue".into(), "/nowhere/scontrol".into(), "/nowhere/conf".into());
    let error = slurm.jobs().await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/squeue") && error.to_string().contains("[slurm]"), "{error}");
}

#[tokio::test]
async fn output_over_the_limit_is_refused() {
    let slurm = SlurmCommands::new("/bin/echo".into(), "/bin/echo".into(), "/nowhere/conf".into());
    let error = slurm.run(&"/bin/echo".into(), &["0123456789"], 5).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("more than 5 bytes"), "{error}");
}
