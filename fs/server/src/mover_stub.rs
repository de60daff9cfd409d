use std::sync::Arc;
use forebay_wire::tier::*;
pub struct Mover;
impl Mover {
    pub fn new(_: forebay_client::Cluster, _: String) -> Arc<Self> { Arc::new(Mover) }
    pub async fn handle(&self, _: TierRequest) -> TierReply { TierReply::Error(TierError::NoTask) }
    pub async fn shutdown(&self) {}
}
