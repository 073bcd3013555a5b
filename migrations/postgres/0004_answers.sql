-- The answer to a job, for jobs that take another's result as their input (NIP-90).
alter table job add column answer text;
-- When it was begun: what an agent that died had begun is begun again by another one.
alter table job add column begun_at bigint;
create index job_by_customer on job (customer, status);
