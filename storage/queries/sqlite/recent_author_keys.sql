-- Lists the authors whose totals wait to be added.
select author
from recent_author
