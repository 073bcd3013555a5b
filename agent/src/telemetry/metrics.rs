//! Descriptions of the metrics.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Counters and their help texts.
const COUNTERS: [(&str, &str); 19] = [
    ("brotr_checks_total", "Checks of relays, by outcome."),
    ("brotr_deliveries_total", "Tries to send an event of ours to a relay, by outcome."),
    ("brotr_events_known_total", "Events that a relay gave and that were archived before."),
    ("brotr_events_rejected_total", "Events that a relay gave and that are not what was signed or asked for."),
    ("brotr_events_removed_total", "Events that retention removed."),
    ("brotr_events_stored_total", "Events that were archived."),
    ("brotr_jobs_ended_total", "Jobs that ended, or were billed, by status."),
    ("brotr_jobs_received_total", "Job requests that were kept."),
    ("brotr_live_ends_total", "Live subscriptions that ended."),
    ("brotr_live_subscriptions_total", "Live subscriptions that began."),
    ("brotr_payments_msat_total", "What was paid for jobs, in millisats."),
    ("brotr_payments_total", "Payments for jobs."),
    ("brotr_relays_found_total", "Relays that were not known before."),
    ("brotr_service_failures_total", "Services that failed and were started again, by service."),
    ("brotr_source_failures_total", "Sources of relays that could not be read."),
    ("brotr_sync_gaps_total", "Gaps that passes over relays left."),
    ("brotr_sync_passes_total", "Passes over relays, by outcome."),
    ("brotr_sync_requests_total", "Requests that passes over relays took."),
    ("brotr_work_failures_total", "Claims and work on relays that failed for a reason of the agent's, by task."),
];
/// Gauges and their help texts.
const GAUGES: [(&str, &str); 14] = [
    ("brotr_archive_bytes", "The size of the database."),
    ("brotr_archive_events", "Archived events."),
    ("brotr_archive_pubkeys", "Authors of archived events."),
    ("brotr_archive_sightings", "Pairs of archived event and relay that holds it."),
    ("brotr_coverage_gaps", "Spans of time of a relay that could not be proven."),
    ("brotr_coverage_lag_seconds", "From the end of what is proven to now, the mean of relays that are up."),
    ("brotr_coverage_relays", "Relays of which anything is proven."),
    ("brotr_disk_free_bytes", "Free on the disk of an archive on this machine."),
    ("brotr_jobs", "Jobs that are remembered, by status."),
    ("brotr_outbox_waiting", "Events of ours that wait to be sent."),
    ("brotr_process_resident_bytes", "The memory of this process."),
    ("brotr_relays", "Relays, by state."),
    ("brotr_service_up", "Whether a service runs, by service."),
    ("brotr_tor_up", "Whether Tor can build circuits, where it is used."),
];

/// Describes every metric to the recorder.
pub fn describe() {
    for (name, help) in COUNTERS {
        describe_counter!(name, help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(name, help);
    }
    describe_histogram!("brotr_job_seconds", "From the arrival of a job to its end.");
}
