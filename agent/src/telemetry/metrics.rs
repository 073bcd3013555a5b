//! Descriptions of the metrics.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Counters and their help texts.
const COUNTERS: [(&str, &str); 22] = [
    ("brotr_check_failures_total", "Checks that failed, by failure code."),
    ("brotr_checks_total", "Checks of relays, by outcome."),
    ("brotr_deliveries_total", "Tries to send one of the agent's events to a relay, by outcome."),
    ("brotr_events_known_total", "Events from relays that were archived before."),
    ("brotr_events_rejected_total", "Events from relays that were invalid or not requested."),
    ("brotr_events_removed_total", "Events that retention removed."),
    ("brotr_events_stored_total", "Events that were archived."),
    ("brotr_hints_refuted_total", "Relays that said that nothing is left (NIP-67), and had more."),
    ("brotr_jobs_ended_total", "Jobs that ended, or were billed, by status."),
    ("brotr_jobs_received_total", "Job requests that were stored."),
    ("brotr_live_ends_total", "Live subscriptions that ended."),
    ("brotr_live_subscriptions_total", "Live subscriptions that began."),
    ("brotr_payments_msat_total", "Sum of payments for jobs, in millisats."),
    ("brotr_payments_total", "Payments for jobs."),
    ("brotr_relays_found_total", "Relays that were not known before."),
    ("brotr_service_failures_total", "Services that failed and were restarted, by service."),
    ("brotr_source_failures_total", "Sources of relays that could not be read."),
    ("brotr_store_retries_total", "Calls of the archive that were repeated after a transient error, by call."),
    ("brotr_sync_gaps_total", "Gaps that passes over relays left."),
    ("brotr_sync_passes_total", "Passes over relays, by outcome."),
    ("brotr_sync_requests_total", "Requests that passes over relays sent."),
    (
        "brotr_work_failures_total",
        "Claims of relays and work on them that failed for a reason of the agent's own, by task.",
    ),
];
/// Gauges and their help texts.
const GAUGES: [(&str, &str); 14] = [
    ("brotr_archive_bytes", "The size of the database."),
    ("brotr_archive_events", "Archived events."),
    ("brotr_archive_pubkeys", "Authors of archived events."),
    ("brotr_archive_sightings", "Pairs of an archived event and a relay that holds it."),
    ("brotr_coverage_gaps", "Spans of relays that could not be proven."),
    ("brotr_coverage_lag_seconds", "Mean time from the end of a relay's coverage to now, of relays that are up."),
    ("brotr_coverage_relays", "Relays with any coverage."),
    ("brotr_disk_free_bytes", "Free bytes on the disk of the embedded archive."),
    ("brotr_jobs", "Jobs that are kept, by status."),
    ("brotr_outbox_waiting", "Events of the agent that wait to be sent."),
    ("brotr_process_resident_bytes", "Resident memory of this process."),
    ("brotr_relays", "Relays, by state."),
    ("brotr_service_up", "Whether a service runs, by service."),
    ("brotr_tor_up", "Whether Tor can build circuits, if it is used."),
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
