use super::*;

#[test]
fn bricks_are_online_by_their_y() {
    let status = "\
Status of volume: bench
Gluster process                             TCP Port  RDMA Port  Online  Pid
------------------------------------------------------------------------------
Brick s1:/run/lab/disk/brick                49152     0          Y       113
Brick a-server-of-a-long-name:/run/lab/disk
/brick                                      49152     0          Y       118
Brick s3:/run/lab/disk/brick                N/A       N/A        N       N/A
Self-heal Daemon on localhost               N/A       N/A        Y       140
";
    assert_eq!(online_bricks(status), 2);
    assert_eq!(online_bricks(""), 0);
}
