-- Returns the size of the file in bytes.
select page_count * page_size
from pragma_page_count(), pragma_page_size()
