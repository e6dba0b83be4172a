//! x
/// x
pub struct DirStore;
