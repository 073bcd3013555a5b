-- What a job costs in millisats, where it is not free, and what it was asked and paid with.
alter table job add column price bigint;
create index job_unpaid on job (received_at) where status = 'unpaid';
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
