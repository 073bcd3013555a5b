-- Which sets of a relay overlap a span of time is asked for each page that a relay gives: as boxes of no width, since a tree by
-- the end of a set would have all newer ones walked.
create index sighting_by_span on sighting using gist (box(point(relay, since), point(relay, until)));
