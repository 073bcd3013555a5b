-- The answer to a job, for jobs that take another's result as their input (NIP-90).
alter table job add column answer text;
create index job_by_customer on job (customer, status);
