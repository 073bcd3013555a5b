-- What a job costs in millisats, where it is not free, and what it was asked and paid with.
alter table job add column price bigint;
-- Who comes first: the lower. Who asked for little of late comes before who asked for much, and who was never answered after all others.
alter table job add column rank bigint not null default 0;
alter table outbox add column rank bigint not null default 0;
create index job_newcomers on job (rank) where rank >= 1000 and status = 'received';
create index job_lately on job (customer, received_at);
-- A job that takes another's result waits for it.
alter table job add column begin_at bigint;
alter table job add column waits_for bytea;
create index job_waiting on job (waits_for) where waits_for is not null;
create index job_unpaid on job (received_at) where status = 'unpaid';
create index job_by_time on job (received_at);
create table invoice (
    hash       text    primary key,
    job        bytea   not null,
    msat       bigint not null,
    bolt11     text    not null,
    feedback   bytea   not null,
    expires_at bigint not null
);
create index invoice_by_feedback on invoice (feedback);
create index invoice_by_job on invoice (job);
-- Kept when the job is forgotten: it is the operator's ledger.
create table payment (
    source   text    primary key,
    job      bytea   not null,
    customer bytea   not null,
    kind     bigint not null,
    msat     bigint not null,
    paid_at  bigint not null
);
create index payment_by_job on payment (job);
