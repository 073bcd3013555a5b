-- Removes jobs that ended before a time. All jobs are read.
delete from job
where ended_at < $1
