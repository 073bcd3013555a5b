-- Returns the server's settings that increase the bytes of log per event: name, value and recommendation. The column
-- setting is in megabytes, in seconds, or a word.
select name, current_setting(name), recommended
from pg_settings
join (values
    ('max_wal_size', 4096, '8GB'),
    ('checkpoint_timeout', 900, '30min'),
    ('wal_compression', null, 'lz4')
) as wanted (setting_name, least, recommended) on name = setting_name
where case name when 'wal_compression' then setting = 'off' else setting::bigint < least end
order by name
