use super::*;
use std::num::NonZeroU32;
use std::time::Duration;

const MINUTE: u64 = 60_000_000_000;

fn autoscaler(autoscaling: Autoscaling) -> Autoscaler {
    Autoscaler::new(Fleet { min: 0, max: 100, autoscaling, ..crate::tests::plan().fleet })
}

fn backlog() -> Backlog {
    Backlog { acceptable_latency: Duration::from_secs(10), time_per_message: Duration::from_millis(100) }
}

/// Numbers that are wanted after each of some minutes with this backlog and these workers.
fn minutes(scaler: &mut Autoscaler, from: u64, count: u64, visible: u64, running: u32) -> Vec<Option<u32>> {
    (from..from + count)
        .map(|minute| {
            scaler.pass(MINUTE, visible, 0, running as usize);
            scaler.minute((minute + 1) * MINUTE, running)
        })
        .collect()
}

/// The example of AWS's documentation: 1,500 messages, ten workers, 0.1 s for each, 10 s: five more.
#[test]
fn target_tracking_scales_out_after_three_periods_and_one_that_is_late() {
    let mut scaler = autoscaler(Autoscaling::TargetTracking(backlog()));
    assert_eq!(minutes(&mut scaler, 0, 4, 1500, 10), [None, None, None, Some(15)]);
    assert_eq!(minutes(&mut scaler, 4, 16, 100, 15)[14..], [None, Some(1)], "in after fifteen");
}

#[test]
fn an_alarm_starts_the_first_workers_and_another_stops_the_last() {
    let mut scaler = autoscaler(Autoscaling::TargetTracking(backlog()));
    assert_eq!(minutes(&mut scaler, 0, 4, 1000, 0), [None, None, None, Some(8)]);
    let mut scaler = autoscaler(Autoscaling::Step(backlog()));
    assert_eq!(minutes(&mut scaler, 0, 16, 0, 1).last(), Some(&Some(0)));
}

#[test]
fn steps_are_larger_where_more_waits() {
    for (visible, wanted) in [(1200, 15), (2500, 20), (5000, 30)] {
        let mut scaler = autoscaler(Autoscaling::Step(backlog()));
        assert_eq!(minutes(&mut scaler, 0, 2, visible, 10), [None, Some(wanted)], "{visible}");
    }
}

#[test]
fn keda_starts_the_first_pod_at_a_poll_and_doubles_from_there() {
    let messages_per_worker = NonZeroU32::new(10).expect("not zero");
    let mut scaler = autoscaler(Autoscaling::Keda { messages_per_worker });
    assert_eq!(scaler.keda_poll(MINUTE, 1000, 0), Some(1));
    let mut pods = 1;
    let wanted: Vec<_> = (1..7)
        .map(|sync| {
            pods = scaler.hpa_sync(MINUTE + sync * MINUTE / 4, 1000, pods).unwrap_or(pods);
            pods
        })
        .collect();
    assert_eq!(wanted, [5, 10, 20, 40, 80, 100]);
    // Half of the pods in a minute, once the window is over, and the last after the cooldown.
    let at = |minute: u64| minute * MINUTE;
    assert_eq!(scaler.hpa_sync(at(5), 0, 100), None);
    assert_eq!(scaler.hpa_sync(at(11), 0, 100), Some(50));
    assert_eq!(scaler.hpa_sync(at(11) + MINUTE / 4, 0, 50), None);
    assert_eq!(scaler.keda_poll(at(20), 0, 1), Some(0));
}

/// The example of "How step scaling works" in the user guides of AWS: 10 percent of 10, 30 percent of 11, 10 percent of
/// 14 and 30 percent of 13.
#[test]
fn percentages_are_rounded_as_in_the_example_of_aws() {
    assert_eq!(10 + percent_of(10, 10.0), 11);
    assert_eq!(11 + percent_of(11, 30.0), 14, "3.3 is rounded down");
    assert_eq!(14 - percent_of(14, 10.0), 13, "1.4 is rounded down");
    assert_eq!(13 - percent_of(13, 30.0), 10, "3.9 is rounded down");
    // `MinAdjustmentMagnitude` in the API reference: 25 percent of 4 is 1. A change of less than 1 is 1.
    assert_eq!((percent_of(4, 25.0), percent_of(1, 50.0)), (1, 1));
}

/// `Cooldown` in the API reference of StepScalingPolicyConfiguration: a policy has added 2, and is triggered again during
/// its cooldown with 3. Only 1 is added.
#[test]
fn a_larger_step_during_the_cooldown_counts_what_was_added() {
    let mut scaler = autoscaler(Autoscaling::Step(backlog()));
    // Half of ten is added, and then, as more messages wait, as many as there were.
    assert_eq!(minutes(&mut scaler, 0, 2, 1200, 10), [None, Some(15)]);
    scaler.out_until += 2 * MINUTE;
    assert_eq!(
        minutes(&mut scaler, 2, 2, 3100, 15),
        [None, Some(20)],
        "ten, of which five were added before"
    );
    scaler.out_until += 2 * MINUTE;
    assert_eq!(minutes(&mut scaler, 4, 1, 2500, 20), [None], "the same step again");
}

/// The scaler `aws-sqs-queue` of KEDA: "if one pod can handle 10 messages … if the actual messages in the queue is 30, the
/// scaler scales to 3 pods".
#[test]
fn keda_wants_a_pod_for_each_queue_length() {
    let messages_per_worker = NonZeroU32::new(10).expect("not zero");
    let mut scaler = autoscaler(Autoscaling::Keda { messages_per_worker });
    assert_eq!(scaler.hpa_sync(MINUTE, 30, 1), Some(3));
}

/// "Algorithm details" of Kubernetes' page on the horizontal pod autoscaler: a metric of twice the target doubles the
/// pods, one of half the target halves them, and one within a tenth of it changes nothing.
#[test]
fn pods_follow_the_ratio_of_the_metric_to_its_target() {
    let messages_per_worker = NonZeroU32::new(100).expect("not zero");
    let mut scaler = autoscaler(Autoscaling::Keda { messages_per_worker });
    assert_eq!(scaler.hpa_sync(MINUTE, 200 * 5, 5), Some(10));
    assert_eq!(scaler.hpa_sync(10 * MINUTE, 50 * 10, 10), Some(5));
    assert_eq!(scaler.hpa_sync(20 * MINUTE, 109 * 10, 10), None);
    assert_eq!(scaler.hpa_sync(30 * MINUTE, 91 * 10, 10), None);
    assert_eq!(scaler.hpa_sync(40 * MINUTE, 120 * 10, 10), Some(12));
}

/// "Configurable scaling behavior" of the same page: of 80 pods, 10 percent in a minute are 8; of 72 they are 7.2, which is
/// rounded up to 8.
#[test]
fn pods_are_removed_as_in_the_example_of_kubernetes() {
    assert_eq!((least_pods(80, 0.1), least_pods(72, 0.1)), (72, 64));
    let messages_per_worker = NonZeroU32::new(100).expect("not zero");
    let mut scaler = autoscaler(Autoscaling::Keda { messages_per_worker });
    let mut pods = 81;
    let each_minute: Vec<_> = (0..5)
        .map(|minute| {
            pods = scaler.hpa_sync((10 + minute) * MINUTE, 0, pods).unwrap_or(pods);
            pods
        })
        .collect();
    assert_eq!(each_minute, [40, 20, 10, 5, 2], "half of them in a minute");
}
