//! What the demo's user writes: the two job scripts and the program that each node runs.
//!
//! The program prints one line `CHECK {…}`: what it counted itself. Every wait in it has a deadline.

use crate::paths::SHARED;

/// Name of the program in the user's home.
pub const PROGRAM: &str = "job.sh";
/// What the second job's program makes when it reads and is about to write: from now on hosts may die.
pub const RUNNING: &str = "second-job-runs";
/// What the demo makes when the hosts are dead.
pub const KILLED: &str = "hosts-are-dead";

/// The batch script. `cold` is the tier's root, `dataset` a folder of it, `mode` the program's argument.
pub fn batch(cold: &str, dataset: &str, mode: &str) -> String {
    format!(
        "\
#!/bin/bash
#SBATCH -N 2
#SBATCH -o {SHARED}/job-%j.out
#FOREBAY in  {cold}/{dataset}/  as=dataset
#FOREBAY scratch capacity=2GiB
#FOREBAY out work:results/  {cold}/results/%j/
srun ./{PROGRAM} {mode} {SHARED}/{dataset}.sha256
status=$?
# What was written, for whoever wants to know whether it arrived.
cd \"$FOREBAY_WORK/results\" && find . -type f -printf '%P\\n' | sort | xargs -d '\\n' sha256sum >{SHARED}/results-$SLURM_JOB_ID.sha256 || exit 1
exit $status
"
    )
}

/// The program. `plain` checks everything; `outlast` goes on reading and writing while storage hosts die.
pub const TASK: &str = r#"#!/bin/bash
# One task on each node: checks the dataset, writes results, reads what the other node has written.
mode=$1 sums=$2
set -u -o pipefail
node=$SLURMD_NODENAME
results=$FOREBAY_WORK/results
mkdir -p "$results" && cd "$FOREBAY_IN_DATASET" || exit 1
bad=0
wait_for() {
    for ((i = 0; i < 600; i++)); do [ -e "$1" ] && return 0; sleep 0.1; done
    echo "$node: $1 has not come" >&2
    return 1
}
# Counts the lines of the list that do not come out right.
check() {
    local good
    good=$(sha256sum -c - 2>/dev/null <"$1" | grep -c ': OK$')
    bad=$((bad + $(wc -l <"$1") - good))
}
write_and_exchange() {
    head -c "$2" /dev/urandom >"$results/$1-$node.new" && mv "$results/$1-$node.new" "$results/$1-$node.bin" || bad=$((bad + 1))
    (cd "$results" && sha256sum "$1-$node.bin" >"$1-$node.new" && mv "$1-$node.new" "$1-$node.sha256") || bad=$((bad + 1))
    local peer
    for peer in n1 n2; do
        wait_for "$results/$1-$peer.sha256" || { bad=$((bad + 1)); continue; }
        (cd "$results" && sha256sum -c --status "$1-$peer.sha256") || bad=$((bad + 1))
    done
}
lists=$(mktemp -d)
if [ "$mode" = outlast ]; then
    split -n l/2 "$sums" "$lists/part."
    check "$lists/part.aa"
    touch "/run/lab/shared/second-job-runs.$node"
    # The hosts die while this is written and read back; what follows finds them dead.
    write_and_exchange early 33554432
    wait_for /run/lab/shared/hosts-are-dead || bad=$((bad + 1))
    check "$lists/part.ab"
    write_and_exchange late 16777216
else
    cp "$sums" "$lists/all"
    check "$lists/all"
    write_and_exchange plain 8388608
    for number in $(seq 40); do echo "$node computed $number" >"$results/$node-$number.txt"; done
fi
rm -rf "$lists"
files=$(find -L . -type f | wc -l)
bytes=$(find -L . -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }')
echo "CHECK {\"node\": \"$node\", \"files\": $files, \"bytes\": $bytes, \"checksum_errors\": $bad}"
[ "$bad" = 0 ]
"#;
