-- What a job costs in millisats, where it is not free, and what it was asked and paid with.
alter table job add column price bigint;
-- Whether the customer had never been answered when they asked: those who had been come first.
alter table job add column newcomer bigint not null default 0;
create index job_newcomers on job (newcomer) where newcomer = 1 and status = 'received';
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
