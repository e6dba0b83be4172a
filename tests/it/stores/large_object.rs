//! An object that is larger than the memory.

use crate::harness::large;

#[test]
fn two_gibibytes_go_through_a_task_of_four_mebibytes_and_a_host_of_less_than_200() {
    large::copied("copy", &[], "out/large", 2 << 30, 4);
}
