SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION public.event_tags(packed bytea) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
declare
    at     int := 0;
    tags   bigint;
    n      bigint;
    header bigint;
    bytes  bytea;
    tag    text[];
    result jsonb := '[]';
begin
    select * into at, tags from packed_length(packed, at);
    for t in 1 .. tags loop
        select * into at, n from packed_length(packed, at);
        tag := '{}';
        for v in 1 .. n loop
            select * into at, header from packed_length(packed, at);
            bytes := substr(packed, at + 1, (header >> 1)::int);
            at := at + (header >> 1)::int;
            if header & 1 = 1 then
                tag := tag || encode(bytes, 'hex');
            else
                while position('\x00'::bytea in bytes) > 0 loop
                    bytes := overlay(bytes placing '\xefbfbd'::bytea from position('\x00'::bytea in bytes) for 1);
                end loop;
                tag := tag || convert_from(bytes, 'UTF8');
            end if;
        end loop;
        result := result || jsonb_build_array(to_jsonb(tag));
    end loop;
    return result;
end $$;
CREATE FUNCTION public.event_tagvalues(packed bytea) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
    select coalesce(array_agg((t ->> 0) || ':' || (t ->> 1) order by n), '{}')
      from jsonb_array_elements(event_tags(packed)) with ordinality as e (t, n)
     where t ->> 0 ~ '^[A-Za-z]$' and jsonb_array_length(t) > 1
$_$;
CREATE FUNCTION public.packed_length(packed bytea, INOUT at integer, OUT n bigint) RETURNS record
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
declare
    byte  int;
    shift int := 0;
begin
    n := 0;
    loop
        byte := get_byte(packed, at);
        at := at + 1;
        n := n | ((byte & 127)::bigint << shift);
        exit when byte < 128;
        shift := shift + 7;
    end loop;
end $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE public.archive (
    one integer DEFAULT 1 NOT NULL,
    profile text,
    events bigint DEFAULT 0 NOT NULL,
    pubkeys bigint DEFAULT 0 NOT NULL,
    sightings bigint DEFAULT 0 NOT NULL,
    search integer DEFAULT 0 NOT NULL,
    CONSTRAINT archive_one_check CHECK ((one = 1))
)
WITH (fillfactor='50');
CREATE TABLE public.arrival (
    n bigint NOT NULL,
    events bigint[] NOT NULL
);
ALTER TABLE public.arrival ALTER COLUMN n ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.arrival_n_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.author (
    k integer NOT NULL,
    pubkey bytea NOT NULL,
    events bigint DEFAULT 0 NOT NULL,
    kinds bigint DEFAULT 0 NOT NULL,
    vanished_until bigint
)
WITH (fillfactor='70');
ALTER TABLE public.author ALTER COLUMN k ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.author_k_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.coverage (
    relay bigint NOT NULL,
    filter text NOT NULL,
    since bigint NOT NULL,
    until bigint NOT NULL,
    method text NOT NULL,
    proven_at bigint NOT NULL
);
CREATE TABLE public.deletion (
    key bigint NOT NULL
);
CREATE TABLE public.document (
    id bytea NOT NULL,
    type text NOT NULL,
    data text NOT NULL
);
CREATE TABLE public.event (
    k bigint NOT NULL,
    created_at bigint NOT NULL,
    author integer NOT NULL,
    kind integer NOT NULL,
    id bytea NOT NULL,
    sig bytea,
    tags bytea NOT NULL,
    content text NOT NULL,
    tagkeys bigint[] NOT NULL
);
CREATE VIEW public.events AS
 SELECT event.id,
    author.pubkey,
    event.created_at,
    event.kind,
    public.event_tags(event.tags) AS tags,
    public.event_tagvalues(event.tags) AS tagvalues,
    event.content,
    event.sig
   FROM (public.event
     JOIN public.author ON ((author.k = event.author)));
CREATE TABLE public.relay (
    k bigint NOT NULL,
    url text NOT NULL,
    network text NOT NULL,
    discovered_at bigint NOT NULL,
    state text DEFAULT 'new'::text NOT NULL,
    checked_at bigint,
    failures bigint DEFAULT 0 NOT NULL,
    check_due_at bigint DEFAULT 0 NOT NULL,
    sync_due_at bigint DEFAULT 0 NOT NULL,
    events bigint DEFAULT 0 NOT NULL,
    first_seen_at bigint,
    last_seen_at bigint
);
CREATE TABLE public.sighting (
    relay bigint NOT NULL,
    seen_at bigint NOT NULL,
    since bigint NOT NULL,
    until bigint NOT NULL,
    events bigint[] NOT NULL
);
ALTER TABLE ONLY public.sighting ALTER COLUMN events SET STORAGE PLAIN;
CREATE VIEW public.events_relays AS
 SELECT event.id AS event_id,
    relay.url AS relay_url,
    sighting.seen_at
   FROM ((public.event
     JOIN public.sighting ON ((sighting.events @> ARRAY[event.k])))
     JOIN public.relay ON ((relay.k = sighting.relay)));
CREATE TABLE public.kind (
    kind integer NOT NULL,
    events bigint NOT NULL,
    pubkeys bigint NOT NULL
)
WITH (fillfactor='50');
CREATE VIEW public.events_statistics AS
 SELECT archive.events,
    archive.pubkeys,
    ( SELECT count(*) AS count
           FROM public.kind
          WHERE (kind.events > 0)) AS kinds,
    ( SELECT min(event.created_at) AS min
           FROM public.event) AS first_created_at,
    ( SELECT max(event.created_at) AS max
           FROM public.event) AS last_created_at,
    archive.sightings
   FROM public.archive;
CREATE TABLE public.gap (
    relay bigint NOT NULL,
    filter text NOT NULL,
    since bigint NOT NULL,
    until bigint NOT NULL,
    reason text NOT NULL,
    count bigint,
    tried_at bigint NOT NULL
);
CREATE TABLE public.hidden (
    event bigint NOT NULL,
    reason text NOT NULL,
    since bigint NOT NULL
);
CREATE TABLE public.job (
    id bytea NOT NULL,
    kind bigint NOT NULL,
    customer bytea NOT NULL,
    request text NOT NULL,
    received_at bigint NOT NULL,
    status text NOT NULL,
    ended_at bigint
);
CREATE VIEW public.kind_counts_total AS
 SELECT kind.kind,
    kind.events,
    kind.pubkeys
   FROM public.kind
  WHERE (kind.events > 0);
CREATE TABLE public.metadata (
    relay bigint NOT NULL,
    generated_at bigint NOT NULL,
    type text NOT NULL,
    document bytea NOT NULL,
    rtt_open_ms bigint,
    rtt_read_ms bigint,
    rtt_write_ms bigint
);
CREATE VIEW public.nip11 AS
 SELECT document.id,
    document.data
   FROM public.document
  WHERE (document.type = 'nip11'::text);
CREATE VIEW public.nip66 AS
 SELECT document.id,
    document.data
   FROM public.document
  WHERE (document.type = 'nip66'::text);
CREATE TABLE public.outbox (
    k bigint NOT NULL,
    event bytea NOT NULL,
    relay text NOT NULL,
    body text NOT NULL,
    queued_at bigint NOT NULL,
    due_at bigint,
    attempts bigint DEFAULT 0 NOT NULL,
    sent_at bigint,
    trouble text,
    slot text
);
ALTER TABLE public.outbox ALTER COLUMN k ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_k_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE VIEW public.pubkey_counts_total AS
 SELECT author.pubkey,
    author.events,
    author.kinds
   FROM public.author
  WHERE (author.events > 0);
ALTER TABLE public.relay ALTER COLUMN k ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.relay_k_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE VIEW public.relay_metadata AS
 SELECT relay.url AS relay_url,
    metadata.generated_at,
    metadata.type,
    metadata.document AS metadata_id,
    metadata.rtt_open_ms,
    metadata.rtt_read_ms,
    metadata.rtt_write_ms
   FROM (public.metadata
     JOIN public.relay ON ((relay.k = metadata.relay)));
CREATE VIEW public.relay_metadata_latest AS
 SELECT relay.url AS relay_url,
    m.generated_at,
    m.type,
    m.document AS metadata_id,
    m.rtt_open_ms,
    m.rtt_read_ms,
    m.rtt_write_ms
   FROM (public.metadata m
     JOIN public.relay ON ((relay.k = m.relay)))
  WHERE (m.generated_at = ( SELECT max(n.generated_at) AS max
           FROM public.metadata n
          WHERE ((n.relay = m.relay) AND (n.type = m.type))));
CREATE VIEW public.relays AS
 SELECT relay.url,
    relay.network,
    relay.discovered_at,
    relay.state,
    relay.checked_at
   FROM public.relay;
CREATE VIEW public.relays_statistics AS
 SELECT relay.url AS relay_url,
    relay.network,
    relay.discovered_at,
    relay.events,
    relay.first_seen_at,
    relay.last_seen_at
   FROM public.relay;
CREATE TABLE public.search (
    event bigint NOT NULL,
    document tsvector NOT NULL
);
CREATE TABLE public.service_state (
    service_name text NOT NULL,
    state_type text NOT NULL,
    state_key text NOT NULL,
    state_value text NOT NULL
);
CREATE TABLE public.slot (
    key bigint NOT NULL,
    event bigint,
    created_at bigint,
    id bytea,
    deleted_until bigint
);
COPY public._sqlx_migrations (version, description, installed_on, success, checksum, execution_time) FROM stdin;
1	archive	2026-11-24 06:29:34.998642+00	t	\\x037a4a4520e17121eb437a2c8870d965df909c71d8c40663d1e06b5256f3b6a328fb717609f881ee8f81cca302ca1dd6	67376714
\.
COPY public.archive (one, profile, events, pubkeys, sightings, search) FROM stdin;
1	bigbrotr	62	12	62	1
\.
COPY public.arrival (n, events) FROM stdin;
1	{-4856901813987952566,-4177437157061847063,-7305849181404211458,5390944237920576432,-8196253021217851461,315283951748401562,-5095126489962705709,-2176037292695302155,-1739030416502498880,-8692543937079260554,-2284033127174723184,-2399109660182290396,2435765608699440662,-4150813312726203670,302918728905216255,-1892312192163013443,-4797199508946423904,1936472283433787070,6033252791640951170,-5423877679312914849,4611299994905319055,4093854340163525564,4968449434921266166,-574142764272431251,8650922511344532886,-7270072204177981769,6742943194430358305,-2543064676005366249,5114228282988689210,-6907489284095640198,-2859546721319744406,1461190528176835487,-6553465655510467408,-2321324461138352468,7941910384043135165,-1379973146326166106,132363285035145873,4270626945801504898,7634831767351980398,-1304477991619594458,-8945352229441652076,7420968186012147554,9090128469657818936,-7519707926079864971,-6765908846189944850,-5814808514009770174,-2593227860424601171,7541971375317146429,5722885833196656289,-6501538775569162758,-466692502106742131,-6134315775868086403,799013082114710123,819909059091191186,-6604073183165918916,-2934985977482804061,-6124439072167988748,-1799320260120958437,1554427165648296866,4347879605327404346,-8344851039515124667,8052945131707406001}
\.
COPY public.author (k, pubkey, events, kinds, vanished_until) FROM stdin;
4	\\x3702b40b38f1a4a95b07a136d0ba4b258a0b1f5f95c1c0255ac45fbc7b8207cc	4	2	\N
3	\\x331afa5c6af5a3229fe1b1c9e9469c20df1b942309abf5e18c30382e639a474e	6	3	\N
10	\\xc1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	23	4	\N
9	\\xbbe7fbe564753bcb2d55db1040e4b198a7febbb75ad2b75dd273bfcf74f6c27e	3	1	\N
7	\\x6182d9cba545d71f966357673dcb8131fd0fd6bee06c7eba2c39ed2673561911	4	3	\N
1	\\x108c7db8bd58936ff4b1399c5d4ecd54f4bfbb24ba3d7a2dd6c59aa084aef7f2	4	2	\N
5	\\x420645c3a8c6897570b5f3269ff2b3886d9199dba48be1819288d896c44611cf	1	1	\N
2	\\x21c3cd44462df3e2e7e265bfdd30ebc1f2aef79894b8d81b39e2893ba1870059	2	2	\N
6	\\x572069f91ec4b5bd5d81431df6bb00b7c89bbe90749999c345f56fa33bcd7477	3	3	\N
12	\\xf2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0	8	4	\N
11	\\xc521d0d3583342d11da8a43a08d5fbcc4fcfd8d180eba42015d370ff578fc801	2	2	\N
8	\\xacf7aa93f1f6ac46dc026a0810fe2bf1113547ede074cd6424ae3e00685c6f5d	2	2	\N
\.
COPY public.coverage (relay, filter, since, until, method, proven_at) FROM stdin;
1	{}	0	1760000000	paged	1760000200
\.
COPY public.deletion (key) FROM stdin;
-3396634187303699829
\.
COPY public.document (id, type, data) FROM stdin;
\\x1a778d2c9edd6e91d50e7675c0d19bf5057a4ae951d927120e0091e9569fe497	nip11	{"name":"an old relay","supported_nips":[1,11]}
\\x50cba118a46cac88fbeb044519897d40a08478545d8e1c74dbf9f6220aa61725	nip66	{"checks":{"open":{"ok":true,"reason":null}},"requires":[],"up":true}
\.
COPY public.event (k, created_at, author, kind, id, sig, tags, content, tagkeys) FROM stdin;
-4856901813987952566	1760000100	10	5	\\xbc98d1887c4c384ab15c2ad93d6a2d4bf02dad552d4575f5f0591d9365b0d47f	\\x0d4bd8d53a50fd5fd7fb8add21c7797f2449ad24f1507cc134029902c5fbfdf8cf19a9d6b58f7fb01df43c5d8d1b22151e031dbcf9b1a5b7582eb646b0273821	\\x01020265416fc1ceee532196b151b3165b365f57d58cec64633c4b1063c32fe05f00fb6cb0		{-944200044560010748}
-4177437157061847063	1760000001	8	0	\\xc606c309e5cf97e94c85c07bf82c9d37c3ce643dbf007c7b575e545141ab7738	\\xfbf24777474a579c8e8fb1bffe210be6bd866857b2e3a81ab2f7772b492032e8ce106830c5733dd8e99d4d71c02554b613512fadb1da38d4ed65541f7dc92d1d	\\x00	{"about":"nocoinon coin on ent ing strreno onnoof nono zapno nokey\\nnoentno you zap noev no evno itre tono satno laying laylayno strnozap re nothe tore on noonev andnono\\nandbitlay renolay nono strstr nonono erno ","lud16":"on noerno andunlay ","name":"key\\nevnore ","picture":"https://ing recoin.example/aced357cc9f3c7add7aff7d8c9f6aa3cada8ffd9dbe1d6ec12d81b58c10a1b5a.jpg"}	{}
-7305849181404211458	1759999997	10	1	\\x9a9c68e0a7d2d6feec916ffc3338fd4496872936cc55964fb0e614f6c55e2469	\\x9654a545cd0df3ddc9c6d808244b56c224341227dba16a5611811d48e2d2c8f4bd0573e5328940302c5a1a4e9dd36cb7b477caad11d41695fe9031b53eedabe8	\\x020402654145808518b770cdf1c8d3b41f63b9fd7c59ea4aeeccdea304ba2e77c1bff19f25307773733a2f2f72656c6179302e6578616d706c652e636f6d08726f6f74020270413702b40b38f1a4a95b07a136d0ba4b258a0b1f5f95c1c0255ac45fbc7b8207cc	nois coinzapre lynostr laysat 	{-2499538189885378790,6839181071729611211}
5390944237920576432	1759999994	5	1	\\x4ad07b38d131e3b0416aa32585e1c07b200cf43bc31fe60cabc2449f901bbce4	\\x88396a834f0b6929ac67c247cdeb4bdca92db6ce2f0d7a7b45dfe75c1cc44df94583f0c30baca9018649b54ecdfb1ab456168512c2cefff08e3c1974767a179f	\\x00	strentkey satev entlayand no ingno noentent to is\nerre no noevzap it nozap bit\nstr bitkeyev nounzap noevthe ing nolay bitzap forre 	{}
-8196253021217851461	1759999992	3	6	\\x8e410f4d851677bb030422fe4112efc9444bf8994f131ad3a3a3415dce05897c	\\xec797eea82b1c06de896bc2cfc75e9d0dd7d37d91d0e7bbfb4242d00638c3c7c7bf4938f6c125bf36d9039e9e37954935abd8ab8eb43e7416eeadd8367f14d05	\\x0204026541dbdb02e6a2e4cdb847647af998362ae0030d2dcb2c98090707538efb42e6b21b307773733a2f2f72656c6179372e6578616d706c652e636f6d0002027041572069f91ec4b5bd5d81431df6bb00b7c89bbe90749999c345f56fa33bcd7477		{-8779667647045514265,-5329283616954080045}
315283951748401562	1759999990	10	7	\\x04601d156b58499a0117e506cec020cb1a289d96e91e9f5aa58fb0081865e805	\\x5f90c84a724106357979ba4867eb5ebdd094aa65e6e393a0f6ce80fd38cbcc0a1fcf73b2b72b38861f989cb090a4ce9c0a3ef89424850eae6113a997518a720c	\\x02040265417035a05c3caa2093ab904a6d532f789b08983181a5897fe395b4e5d4fd4ba37b000002027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0	+	{-8105733393905071913,4227593675921317562}
-5095126489962705709	1759999987	10	7	\\xb94a7973d8170cd37c657dafa6c7c77db3b85c39fc91349f309e2309b0993980	\\xa6aa72c1e6294f64107d6c6e4d9c57e6bdd02ceb9a5016b66ba2ab4817922ce7da2c50d937139435197107914ffe80174da4395bb14c33a5e7b0d8c5fa0263b3	\\x02040265413e638a7c8a8d65f0a8a841ecd9f96d42e1c662d794125982cec67909ca58c424000002027041c521d0d3583342d11da8a43a08d5fbcc4fcfd8d180eba42015d370ff578fc801	+	{-3512361196534483127,4882866513725457612}
-2176037292695302155	1759999983	10	7	\\xe1cd299c86e4cff5ad4ffff6679b79a049328c064d221b22d9001bf044f22e49	\\xe2ea14a3fe1fee18e982f6780fd8910527567f16917e6a710fc72e2a1b6573c2d747683a08da7829ff67fdf99900b3ad619953a155e8c07cc28eebdcabc4203b	\\x0204026541be37ab81c06bd5d31c2b2fbf17f75f44054661663ff0a82b01a214757b0e53b800000202704121c3cd44462df3e2e7e265bfdd30ebc1f2aef79894b8d81b39e2893ba1870059	+	{5174872576815151955,8035057176102033945}
-1739030416502498880	1759999980	9	1	\\xe7ddb90ccac4d9c0eaab8e7bf8fc5f39967e54289bd692266ab042b353be8a32	\\x0be65783ee3b432aec0fafc2e9de5871ecdae4376b7226aaab916dd333fc203223c3549c584e3f82098b4d9f0630ec686e0d068954b1ca6577c3719a1528dd6e	\\x030402654150214b10c482da00e1b5314c780b9b849975cce9a4aa196525e897a56b3861d9307773733a2f2f72656c6179312e6578616d706c652e636f6d08726f6f7402027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf00202740e746f7069633539	evno strentof nore\nly\n	{-3706930833411113363,4227593675921317562,4621330189291760966}
-8692543937079260554	1759999977	7	7	\\x875de15823ea4a7688edf04029893e477fed031d16267d5901f41286bd69e6ac	\\xd1cc44808018bb9aeabbb5aca5466784cb80f618debd9f6ea0552890bbe64636458bd8712f56203ff556de9af634a8d3d9461b77b929b750df1c267d48bd94da	\\x02040265414e3980a0232ece825efd5826ac9c99e20bd216e390db6e1bc2b71010c5fa9362000002027041331afa5c6af5a3229fe1b1c9e9469c20df1b942309abf5e18c30382e639a474e	+	{-5119936237474367820,2725472836549378009}
-2284033127174723184	1759999973	10	1	\\xe04d7bf8df86a990eb75f95d65fa364563684200b9d2c8160fce5431393319aa	\\xb03c1c92bf69743084b6959129c7116c9d1ae7b44e7cbd15b1cee1643d688cf326a5a5d34bfda5d1fb48b116e2a1dd08a885a341e6aa5b3431fec525b2e19264	\\x0102027412746f70696332383931	is\ncoin key relayno erlay satnoer\nstr no str laynoun the\nnono nonono nono zapno nolaystr reonno younoand str no nostr layno no erstrof isnoto theentzap ing thenoand ent evnono nono sat laynolay str strstr rere 	{-5806951801236445507}
-2399109660182290396	1759999972	1	1	\\xdeb4a6799fa0602424800b63520f2e5ab7f66497f28cb93c50b37b0a71cd7206	\\xeb0ba06af2dc632e60c20ed63d9dbbe5a6e3b9eb2352dcd339ece58626cd7149c9795f64667dc57d544dfe33ab9c71993c837a42213ab8665d401a87362d28ab	\\x020402654180d425cc95fd06106a4bafb10b4df485e9262a1659c7cacbcb97ce2ba9d0f465327773733a2f2f72656c617935302e6578616d706c652e636f6d08726f6f7402027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	noevkey keyre nokeysat nosating nono unsatlay no no nobit zap reno tocoining strzapent er nolay strnore tostr nonono ofzap itno lying\nstr no key nonono coinly andno str itno coinstr entandre ingreto\nno no evkeyno\nnono nocoinstr\nentno noit ofnobit rethe no no it bit re nonozap nonolay zap no nono andon\nit for thenoer restrno zapbitre renolay bitnono nozap no no of no no\nno nocoinno strno norezap nonono of eventsat no nore str nobitstr noevstr\ning entandno 	{660124028138566066,2041664738189756111}
2435765608699440662	1759999968	10	1	\\x21cd93ea76a4ae16476f8e9ea204714d7a9528956db719cb8eef6e87491318bb	\\xc8a15f4c850e2859b6844e3df86fcd0386cb223872115e52f6054a80b87f471849ff6367b9aa9582c567da123fe7f56e112999f02da22fcda179a8914622fd40	\\x00	for nono keyun oncoin zaplay no sat rere no itno coin\nlayit noonstr ly strnois str laylayyou to of no ofthe evlaystr zap\nnoonno str entnono strno youzap ev rekey bitun ofis lay isunon zap ernono nolayno coinno nozapis inglayre zapto strevno evandis satre reev nokeyit lay no laynoand strzap key no re no str norebit nozap reofno ernore\nunon noent ingstrev you str evkeyno str ent strev evev\nstrandto noly to theand\nnolayfor nosat no\nnonono reing str sat renono noyou layno recoin andlayly theevno reyouno is evunstr toer no laylay nonoit sattono bit nostr evstrfor ly noreof rebitzap zapev andnois evandstr keystr str key\nstrstrstr itstrno\nerstrno thesat coinofer laynocoin lay re\nkey nonolay no no reevbit lay noevev lay strno no unkey isisre str key evofto strbit nonoly the keyyouent bitno un zapsatzap no strsat\nrestrof entno\nlaythe 	{}
-4150813312726203670	1759999966	12	0	\\xc6655948b5fe02ea2feda2c313e57d29a360534a67f3a916fca3d9a75aceb03a	\\x21e3cb375377dad4a7e940ded0c02b747b2955c9ed5cffcfff044c5b37872a670afdb8b275ce41c54b206bcb67a61eb7fee672b13d60de26f91cc14f031980d3	\\x00	{"about":"nono no noyou strno\\nentbitno strnono nonozap no\\nno rekey to isno isnoent no nonostr strno nostrzap nothe inglay satno layent strbit norestr nonono thenono\\nnonono evno laystrzap ev zapbitstr isyouev satto ","lud16":"no str key ev ","name":"strentno ","picture":"https://coinlay.example/09007fb4f57f1b083e17ed324793998f0b617eb2bc76c41df44f54b0759cbac3.jpg"}	{}
302918728905216255	1759999961	7	1	\\x04342efaa03550ffb8304e2480a54bdfa1bf1260a8d85bf19d7ee0e8b93d61e8	\\xf9e6850cf222fef9c86e5dab2b42257ba133ef43e7349e99fc1a5ffd008e1fb95af6527c905d52563394b17fd199a63ad1f7b75f13c9d162acdb858b9d76e398	\\x0204026541663512faff4b59a226068395c96e0699fcee53f0004a3d1c777cb9d37dc3a9f4307773733a2f2f72656c6179302e6578616d706c652e636f6d08726f6f7402027041108c7db8bd58936ff4b1399c5d4ecd54f4bfbb24ba3d7a2dd6c59aa084aef7f2	layno nois\nno nobitent\nkeyno lay reto is nonozap nono youent strnolay 	{751788236293954031,4846267853903900440}
-1892312192163013443	1759999958	1	1	\\xe5bd28164dfb9cbd698794ea8469dd2efe642b040830b5f45630d8ee1ebdd918	\\x327b26ba3de1657a81f4f2c29df943337b558fcc4cb07f12f60f335cdffdd2e8ed4361fbc084f62024a3ddb51e23829eb226c9b43e893f9e92736be896b36ce7	\\x0102027410746f706963313633	no evisno\nfor strstrno 	{7963975935556707359}
-4797199508946423904	1759999957	10	1	\\xbd6cec769891efa0b47a03e41bbf96f27ab429326c175e32608157f629cd71c3	\\x6ee2ef678073ac6fbba97aa7c9fccd666f5cb53efa2e19428bcb78ac26c00ab6fdc1eda737c2cabe7de89627d9ca1404e3561469f0fca5d67b61313a2eb54fef	\\x02040265417487ef485a8dad04d784afcbcb895bbdd8e949db055df4aecca8fe3996b51f72327773733a2f2f72656c617933302e6578616d706c652e636f6d08726f6f7402027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0	layre itonstr on strlycoin re er entsatno evno evnoent nolyer layno bitstrun strbit coinisstr evno layrestr entnono rebit un zap and nolay noun zapstrof and\nrecoinstr itzap stryou you nonoof ent restrno strisre no\nnoit erkey\nsatlayre of no un notore ofthely reisno key no evthe nonoent nobiter ernolay\nlayitno noly ev restr 	{4055545490932883452,4227593675921317562}
1936472283433787070	1759999953	9	1	\\x1adfbb482b75debe60ffccc438dc5c2d40ca408101bb68d9f55d39c6e76bf8ae	\\xcc40fb2b3dbe07fd242d23a391a41d2e015be6c699a94382cc602830cc118dc8fbc1cfd8596bf0690bff21f09d001f3fc28b58a1bb757303a288116dbdbfb7e3	\\x0304026541ecd8b61c17c9edcd23623e6976bfefb9ec70224f11f48e870d40592eb3957fba307773733a2f2f72656c6179392e6578616d706c652e636f6d08726f6f74020270413702b40b38f1a4a95b07a136d0ba4b258a0b1f5f95c1c0255ac45fbc7b8207cc0202740e746f7069633238	nonore key on renore keysat ev no no entno onbit nono ontostr nonono str strstr ly no nono\nno rekey no nonore strno nobit bit no andnoent noyou nono keyno reyouyou the nonolay er entnore\nnoent nolay nolaystr re nobit nono is str the strno reno nostrent str ofthe ent forno nonore strnono nonono laynolay no\nlayingent no nolay noenting isre nore isstr no\nnoentof onev no noent nonois no\ncoinev tonostr reev noent no lynobit no no notheit strnolay nostrno noonto onitno strerno noent nono ev reevon zapthe onno nore nono ofzapev coin nostrev nono no str thesatno noander noingno evit sat no reevthe strcoinno thenoon no str satbit ev no youstrno reno\nno\non satingno coin strnore zap strreto nono 	{-2499538189885378790,5959339178477508465,6835386286532812772}
6033252791640951170	1759999949	10	7	\\x53ba6b72cde489822d187e5786db234bfe1d0a3c2012baa601cc0368be76a832	\\xf6c4493a1b822b5cac86470b43a0e5700670be04139ee114577e7a37df1597dff27b228f35e289b6267757e07ee83fe2241009b6e9e3939c9e3b289592d68c63	\\x0204026541be6548358eddff8128369a49b2c634685d36e23f497bc87eb62ff7024c36ac0e000002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	+	{660124028138566066,4962944075212426734}
-5423877679312914849	1759999948	1	1	\\xb4ba83fcd362365fe6adeca2ec68c7406f4f9d06645fe4de2b67167f9afdc427	\\x402fdc105d68c8d72c2a722609e627c17b26940e2c870c420959f8857e53dac77445d053b28efe4bc8cfa5b869fad10679a100bfa9b91725ad9b03c41447870e	\\x00	layentkey strstr keyno to no onev\nofno you laystryou sat it ofstrand renono ofbitstr 	{}
4611299994905319055	1759999944	10	7	\\x3ffea0e9e517968fb3d49ba49ed4c03b84d21e317e05dd1df4f24a98fccef84e	\\x43169ad6bba195a9b3c8036e35bb04df4cb52953b7950811dfc2a9aa16e3ca03b7f9e26c4f35d3cc74669b8a7ef46ef1477ce3dab5dfb4cd936467ed8d85abf5	\\x02040265412cd6f1601245f3865fafd4c86b1086d3d403289abdacfb3eda69b21983cfed15000002027041331afa5c6af5a3229fe1b1c9e9469c20df1b942309abf5e18c30382e639a474e	+	{-5963577708647820539,2725472836549378009}
4093854340163525564	1759999941	7	7	\\x38d04ad50ba35bbcd97860e63f95d2c1f9a93ea8477a58630ffd322e6afbfeef	\\x554b2756f6c7492af91d37d0dfad32bd0df1f78b9c2de731b5f41d4fde4b708a9a50528c99f82cca01bb46807aa382478c97d11ea71fed7549317d808e31ac71	\\x0204026541438f340b597d381b71eba729af59b2f443a358d98630407d69296f3bcd1c5e33000002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	+	{660124028138566066,3687403093043255005}
4968449434921266166	1759999937	3	1	\\x44f37a6fe4f8ebf60c7d8894b7ce73ac2049ce6c7c2439548ec07841eb669ec5	\\x5db51d716db55194ce242f7292bc4315d946900a0a7f6cae9b4200c4f36792917167a37f1372e725e2304a7ef2a1e586866e586467844927231313cf960602f8	\\x00	nonoent nolay noisno strandis\nnolay nozapno yousat\nto no\nnono zapun forisno entno\nstrnozap\nrekey 	{}
-574142764272431251	1759999935	10	1	\\xf8083c32a52e4f6d13729c3d044ef114e344a35fc3c523e37536cea677e53018	\\x6ba9b8c569eb57c885d56c57f3e8be88274e791a51cc72efb603c4aa4c65aed9d976c7b55924dade91b8585317e5bc1a86d6df4d5c853d83163563ddc363f7db	\\x030402654171665e56d49a1182312c955fd8f1fb1901d79b68b9ed3b2952ee871f68ae0188307773733a2f2f72656c6179322e6578616d706c652e636f6d08726f6f7402027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf002027410746f706963383838	ingno str andno re the evnono no\nunlayis\nbit coinno entnono recoin nocoinkey nothe strno zapstrstr str bitbitzap nosat nonoer nore str andnono ingnoent keynono satstrno zapev no no onnoer coinentno satkey notheno noto strlay itisno nonocoin zap noto cointo nonono laystrzap keyto evstr ingno noreno strentno you\nretono strevsat zap\nstrno re the zap layandev noyou reno re noing reto the no\nnoofno no noreof keycoinno ingno ingsatno keynolay no\nevkey er reno bitnono no nostrthe 	{-3580144739308752169,3307980231301396935,4227593675921317562}
8650922511344532886	1759999931	9	1	\\x780e4030841efd96e00cd257ce51c0152ebc0e38f446955047659701c29d1fa8	\\xfb68395244bbf5715ce72ba724ec9edc7eb0b5f4f2c46b5da4324f54c9156144936158583ad18db46ef342d75c17229591d134a5592889dca83874e67ac13811	\\x010202740c746f70696332	nore norefor noevzap str entlay no layingkey nosat noly nozaplay nono nono unly no nono ent entlay nounno satnono no\nrere evyoulay ingre\nrecoinre layof to strevno zap nono re evstrent isno re nono strnono no zapcoinno strit no rezap nonono nocoinno noing nono nolayev bit\nkey\nnosatstr bitnono ent strsat\nlaynois ev coinev strstrno keyonit bitsatlay nonoent str ev on no re ev younono noand no andtono str nokey re noent evonand nolay key the totheno no nono no reev strreno entyou nonore nonolay\nsatreno no 	{-4743073738579126508}
-7270072204177981769	1759999928	4	1	\\x9b1b83d94a87beb7b80d55024d4e987d248b08171109777cd1cdb0c5f49424df	\\x3e10c038d9dbc28497b2f835303e6caf856c2e2fdd9c7fecd284b0d702d7a545e4da57f727118fbd203cee99de58bf9ad32832c6d054f64c9af60a97c10d6a47	\\x00	onno for lyandno key no no no toyouno reentev itofno ent strunno satnosat no\ntheno noentev ev zapevzap tono zap no\ning nono bit itno zapkey uner noreno noun strerno tono ing ingnosat noforstr noto no no restrkey no restr the nokey satnofor\nly nono\nno unnore evis str nosat nozapzap no itthe noreent lyev ev zapentyou noyou lay keyzap ev evisno key re nonoand zapevof no no nolayno noon unsatly no on lay\nandstrre\nre notono zaplay nore nostrzap ofno strent notheof layyou nostrno is\nno evyou noreno no no str keyent keystrkey lay\nlynono nolyno nostr restr nono nostron no str\nnono entnono\nnoand evnono no\nstrand str re zap nonono laybit\ning you evnostr unnolay ercoin andcoinno no\nlaylayre nonokey\nno itno no nolyev no no no noent str no\nent nonono nono forre onreno entlay nono str lay noreent nono andnolay of\nnonoyou eryousat\nnolay nonoon nostr zapno nonono no str and nono strnono onnono nonoyou no bitno nono noandfor str nonostr strev strkeyno youno retheyou coincoin\nevkeysat nonono\nlay noyouno noentzap noyou ev laynolay strand oflayun nonono str reon 	{}
6742943194430358305	1759999926	12	1	\\x5d93bf1c14a8c3216f4e37433998b72f6fdeb2fa0efba2ef20ac64152d3b3218	\\x14a80112276d7ae8b9b69285934103f53701afb983a76e49fca49fd8740e808674b103a2a01d4c65dead2909632b58d838c9cda8372b186778a144ebdf027887	\\x010202740e746f7069633135	isisstr no\nlayit\nthe onkeyno nostrlay strsatno nono no evrethe sat lyev no ent laynosat coinnolay\nnonoev no nolayno noreno str coin str nonolay lay nostrno str nonoing saton strsatno ingzap no satno noof zapstr forstr and nonoent ofnono itkeyent\nrestrzap no nonono andkeyev laynono zap is\n	{-1543001013033177459}
-2543064676005366249	1759999924	2	1	\\xdcb53826a1db3617d6ee035fafb5f0238604c90ed458a661d80b3ce345d6cd1c	\\xbd3e4764976402b481b6f90574b2ae56a8f27224cbe8c9ed152d2d8974899182abd99d3f735d9b5411ac9b5db88b02c4b3aa819beb0b2d93cb521770eb469ed5	\\x0304026541d783a655484bf81ae3218fd5cfaac4af908f91699f13711741a9c4070a21710f327773733a2f2f72656c617935382e6578616d706c652e636f6d08726f6f7402027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e10202740e746f7069633634	strno rebitno nocoinno no for lay entno 	{-3733156990586531817,660124028138566066,4552099346004014915}
5114228282988689210	1759999920	10	1	\\x46f96386ebcbf73a151a4efbb6cf853bc760871d54093a1e3222784d876dfae0	\\x93026412174b0d15f0fea527f6421763f5cd78e065ef3d67821619d02da6cd2513158d0257ec355372408aee80096518ff38a319fc6030ea468e11d9a5b6e1ab	\\x00	no theno ofno isno noly nokeyno nostr nostr stris\nstrstrsat for you no noer no eventev erstr bitisand noit strfor\nnoingno keyev andis it no noly keybit str for\nno\nnoreno no re\nno ev\nnostr is noof lay zapisno ing no\nnoenting no restr nono zaplay strrebit entof evnoto nounkey keystrno bit\nno keynono is laynokey\nno layand younocoin satno layev entnois\nsat is the reentre no itbitstr nocoin no strstrlay lyingkey onstrno bitnono 	{}
-6907489284095640198	1759999917	4	7	\\xa023ab17f3a97d7af54a86f75e14a07f6f8eaeecf596100ab1a6db66f0df6857	\\x26c54f04ca5c872cd690827c771b2c07063f534ec4247f58a18663bb7f759e3bc249d79eabbb4f264f90dcde7b75edb1478ff43b0cf170fd44a0f01ed71e7e78	\\x02040265414dc8e1a071393b14b30c78b2120255a3073d11afb135302aef5e85c0bd68bf42000002027041420645c3a8c6897570b5f3269ff2b3886d9199dba48be1819288d896c44611cf	+	{-5447583695986296255,7045455795928548612}
-2859546721319744406	1759999915	6	6	\\xd850d968511a8c6a7fe818bb84186f52cef033c4291bb065f293536bde19dd3c	\\x5ee057edf54f7802d0b5d042cc819c5874c391fbb0b82f42b35fce64cf46766d42849ffaa1def0cabc79e3a5d8dd1168ddf3c4a5b6ddb9fe381e794a4846a8de	\\x0204026541e280e55d209aad494c20a8f373f80d6395aa83fb654257fcb3a5edddeb5dfc84307773733a2f2f72656c6179342e6578616d706c652e636f6d0002027041bbe7fbe564753bcb2d55db1040e4b198a7febbb75ad2b75dd273bfcf74f6c27e	re iton ev nolay evnozap strnoent sat ent zap noandno no str lay isstrof bitev unnoand noandno\nno lay no nono ing yousat isentno layent nonono evsatof relay\nnorere you no younono unnoon theno no lay unnolay relayand satingstr nonozap layre\nforstr nostr no nonono youev no evkeyno no nonois satno ent bitevno erer strstr nore to strnostr un you entnokey er nolay andnozap nostr evno no str youno\nnois nonono youno of no satnozap ernostr thenono bitentre laystr nono coin strev no no nono for bitno str thekeyno restr isstr no\nstrnois itstr the coinnobit rezap\nstrno nonoon nofor andstr nono nore coin 	{-8799921732553926564,4918767441247997180}
1461190528176835487	1759999912	10	7	\\x1447310b2d254b9fcd2af4394104ab336c14896304950c5f91e44adaf1819f44	\\x923664782be7dc4dbf5169f8f8d4a67e6b33d4aa6a26bb654a8e44a91fb9afd229fea2ddbfe3b578e525dd19f84780dcf0273a5f29794bcbb25575243a93c27d	\\x0204026541e8bac9f9be9156d2b00f830a9c51976827781d39066205451a74df7e42cdce0f000002027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0	+	{4227593675921317562,8676190702406701117}
-6553465655510467408	1759999907	10	1	\\xa50d69b543937cb030635e655cd40c2ca4d2f80abc62a5d0715792193dbe95a4	\\xf9d18b2f6c00fc88445165b8fcfa6a434f10beb09650d94241e322f12108058b4202de60910e613fe41997b8003f689314b6ff6c49de8d3a101c8f954b82c8da	\\x0304026541a4fab89c87ecc3bf8d0220129d28aff701cad57770f3845e29bed7219800188b307773733a2f2f72656c6179302e6578616d706c652e636f6d08726f6f7402027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e102027412746f70696332343535	unlayyou nolay nolaysat noonno key andno nonono onlayno\nstr noentno eruning er evev re\nent ingzapno nono ingnoon 	{-6331225429337433515,-4225898291172356558,660124028138566066}
-2321324461138352468	1759999906	3	1	\\xdfc8ffb3956c66ac00a84b5925c79a3fd10da5a811120958eceb9296e64a60dc	\\x40620858b0e2b5c87089538b09ad39d772e100e236a3f6416709fde5df08bba436519c5b4462276d78e9f9914c4cce2b733a5c3b2a209cb65406ca249c760ccb	\\x0204026541e108b0eabddddff12432957b84f86dae1f17f7da171e62b95a7ac7e0809677af327773733a2f2f72656c617935382e6578616d706c652e636f6d08726f6f7402027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0	isbit restrno coincoin nolayno isno\nstr satforno\nnore strno strfor str re ercointo and restrlay no coinno forno ent zap\ncoinstr no bit 	{-934467501441188711,4227593675921317562}
7941910384043135165	1759999902	10	1	\\x6e37556a8ee090bd25a157b4de868eecb7039c36c968f032245edbee2b175277	\\x0d7adf0731ea01819d97deda17e3bed175f1fed189fa7f9b965c848aed68434224d98bf59aaf4fb3045c6be8a4e4881b9e1e39b5e98e92490121fde5cdb189b0	\\x0204026541e5a33fd988d42e9cae349aedbef1c2ffb1778eaacf2237ba9bb264097bb2e414307773733a2f2f72656c6179302e6578616d706c652e636f6d08726f6f7402027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0	nobitno lybitbit no nostrzap coinon onstrno zap andre\nnoyou ofstrno of theerno ofno nonoyou nono eronun reofbit reandand evunkey renoev itnono strno no\nstrstr no layre tonono andnono\nnotothe unstryou strnolay restrfor no of er erno thenono nolay zapcoin thenoer isnoand\nlaylyno ing youing re nolay the layno laykeyof\nnonois keyno\nno bitlayno noingno you no strforno zap nono to ev nono on noentun youthe no noforno\nonno layyouno erno lay bitzapre\nnocoinly theno satyou 	{-4692958726525456892,4227593675921317562}
-1379973146326166106	1759999899	10	1	\\xecd959bc1da695a60f8242152a7273790af886e444af9e68a7451ea1cbb3893f	\\x4048d55bfc592503e8a09581a172bb1714734f545b87fedea9aa4971dbbec1834472294d05c484d23661b3f2492dab780e34dd865cd41b29a25affd7c0723829	\\x00	noit ev no no evno ingno nono 	{}
132363285035145873	1759999895	4	7	\\x01d63fb4d9d2da913764faec0383327d841894ea7d1f29580c5f5a4f7e17f08f	\\x74090fb09e97ab79629254dc856e0684a4674c95b6f6e17246cfb0383edef2efb96585e274c6d897cad391230b6da04253004a2492ac37dd1fcd7b6d685a1ae5	\\x0204026541a918e468701efef72af56bbf2122b84f03bf6210a5fc154c097f84e6ad9bba5c000002027041331afa5c6af5a3229fe1b1c9e9469c20df1b942309abf5e18c30382e639a474e	+	{-8805313867631016768,2725472836549378009}
4270626945801504898	1759999894	10	7	\\x3b44509498b5c882ea2149a7a0e2584f93c271b6555d7720f2d35cf7bfda8c34	\\x33f741fb68ecc5a8a132fc417b7595b1c06bad74daa68c823b1a49017a451f5bd21033dc59c78004591c9957e471b6c686631e375b11566281ea9fe08001db4b	\\x0204026541a100c964ac5ad70d4ee712badc76c779b9a58aa2c99f737cd8e4ca3aebc8c993000002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	+	{-7370656461296390199,660124028138566066}
7634831767351980398	1759999890	10	7	\\x69f45f0a94e1f16e3ef9d5ba91b77ac02e885045a570d5e1b538f0d6d827da48	\\x289baee5a04742e46aafcdb2c01932f0261ee028764748f7297dafd6a5fc3643c7bc3ec86d1457ae4c91d0900a2cb880f06c070f0aac1c71f058816b57f20d76	\\x02040265418fc4990f6939a72d3916553d82b5c3abb0c635d213a8cd2900de45103b9d773f000002027041acf7aa93f1f6ac46dc026a0810fe2bf1113547ede074cd6424ae3e00685c6f5d	+	{-5943231209337735369,5707122293959116987}
-1304477991619594458	1759999886	12	7	\\xede5902d9432f72670ec3534620433d790f7ca4764f317c716638929f823b7f9	\\x207143ff408bed51249ccd6f71cf90fefc3fb3f836d16f2ac9ea875b8b13e30c73367a4d2d6a7cb55e0abcef4605038005ee34f3be67f493619a83e13d50916f	\\x0204026541ebfd20d95a899984e2095b0bd25c58a7c30977f5cee2b80c9eca7290f4b83ffc000002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	+	{660124028138566066,7144979664636422048}
-8945352229441652076	1759999885	7	6	\\x83dbb98ab561ba94adb1e3190c7c86b5fb0a2954e67e1185105256f2fe7977b7	\\x8d4ff3aff7ef302be9b4796e12ba14a097f6fcb15fa3393aa1d4252bc97ca5a349df3ad5e6e17a4d81b63d97790ebb90abca8a1451b040990af3b45d6ce81e9c	\\x0204026541f16e9214e0268ad36fc2893f57244af6eda3a6f0e5cde9b8ecab53684b8d86ae307773733a2f2f72656c6179302e6578616d706c652e636f6d0002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	of nozapno for\nent bit no laylayno coinevstr re nono entun nono\ningcoin str noyouing strevun re\nstrno thekey entlay thenoit for\nzap keynono tonono bitstrer\nstrstr onnokey nonono andnore no no no zapre noand keyno nocoin bitof on no andnoand\nnostrev erno entno\nstrnono keycoin zap forkeyno no sat ent andsat noresat entnore no coinno ofstrno keyevstr nono nore\nre nono strnoev nosatis strreyou satstr nono no totheno isingno no itno coinbitno you nostr nonolay bitlyent andkey zap nostr lysat nokeylay laynozap relysat strcoin re nokeystr laystr strstr keyno isstrun zapfor satno satstr eventno bitno 	{-3555698695002562098,660124028138566066}
7420968186012147554	1759999881	4	1	\\x66fc933f48ba9f62588b143d623c57ebd957e6d2b68e71940241be109d0de0d1	\\x7ea02a2e4d578e97ea5442c7653e3fae60c756c9ec41f8c51f90d894c3bd78289ac154ac73ee243e1cc4adb6dedc2dd17c7fa2df1da47108f7cc9f8b5714f840	\\x0304026541c5eded24a5d9c5652dc0bb72b030b564f387239ca4228b7f652cec70469a22a7307773733a2f2f72656c6179372e6578616d706c652e636f6d08726f6f74020270413702b40b38f1a4a95b07a136d0ba4b258a0b1f5f95c1c0255ac45fbc7b8207cc02027412746f70696332373235	coinre bit keyno no norestr str noreno nothere noly laysat str onnono nofor no ingnolay key entevly lay str keykeyto\nreno\non renoun no the\neverstr noinglay 	{-7540562359456313825,-2499538189885378790,-2252512100262305661}
9090128469657818936	1759999878	12	7	\\x7e269fae7c9e973823bb1af3b5641d024dd57df6cf4f80b781de51492472ec38	\\x63824158a89637691b9ee0bfe06728dca26b76a531a1363687584e21377b3db7a9aa821ff5c4a98be195f58a2ee1777e30e3b2a6227e3ae632ff322d95d7f7f5	\\x020402654174b6f9c27bcf47722b935183f01de6cbc840c326542ed133323a4202279f9e9100000202704121c3cd44462df3e2e7e265bfdd30ebc1f2aef79894b8d81b39e2893ba1870059	+	{-7228721403580969161,8035057176102033945}
-7519707926079864971	1759999876	12	6	\\x97a4a17b7b51ff7574bbe7e5102758f0caccdddcf26aa0990ac62d5aced4480c	\\xd0058b3bce23c383e5595abc076b29cd936366a97a772b0a68622e7caa58eafd600cdb69ab1c3790df9a122fb57bb8a0ca2be636eec0353d6d7a17c615a301e6	\\x020402654108e869a8d196e5bd38b2eb28207439d384fd4750c86e82c6ef2179f64a69c7bd307773733a2f2f72656c6179322e6578616d706c652e636f6d0002027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0		{-4995779620110002040,4227593675921317562}
-6765908846189944850	1759999873	3	7	\\xa21aa9c0702cdfee16dcb7258a70ff30c84398a1b6c1c36fd488b0751d25ec0e	\\x4064b42ab3e4abb8485f44a51a962f48e5dfce4524c9f0703ff78420a5f5b87a61575b7188c80c30345b09362616a1144d5c37ad634044bd7f4156c15fb15b32	\\x02040265416a3fc7be3c86e03d9c3eb3889a390c91515cfae87ef7c676ca34e3505a970402000002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	+	{474127322405595866,660124028138566066}
-5814808514009770174	1759999868	12	7	\\xaf4da676f587d7428b8974a6a29cb0ab4260da41cf8cb129f8f666cc5c65fef0	\\x9e9d1dbef3b22290c34de7bd1cf688864e554f7f84375d25030ec849b7dfd865678bbd2ef8ee3adeb845c18c5adca1ca70a2ee2f851cc0e5cb17c354fff018df	\\x0204026541cd62ffd89b18e22147e96be2865c975ee1a8762cf9f0a44b6017c467a9b4e376000002027041bbe7fbe564753bcb2d55db1040e4b198a7febbb75ad2b75dd273bfcf74f6c27e	+	{-8799921732553926564,4425503421660357738}
-2593227860424601171	1759999865	3	6	\\xdc0301001dbed1ad396b4221498dbfb030bf352439e5ae770b171fcfeff399a3	\\xa771bb1b62500131375bfb44b3b85073ba92094cf1cd44a0d321315225b31dd439347a5ba89af5bde97b88627097b67ae488280d755092dce882e5aad037b30f	\\x02040265419be4bb9f92b19c5ac87b2dd72b26772612d7b8e552bda57ec92c8d5795fe2b72307773733a2f2f72656c6179392e6578616d706c652e636f6d0002027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0		{525662907440419410,4227593675921317562}
7541971375317146429	1759999864	10	1	\\x68aa7701bbf15b3d2672791db500fcaeeb6c86e99edecfff37efe8d0a6c299b3	\\xb4fd72ad37e2db05ee7dadd44ef0c744af594ad4cf581866dd8650258e1e67442ff5aa6480b2d431e9210c570c4ca50ce22c776145cd4f8efac2c90060dc5ff2	\\x00	nono no no lyer entnolay zaperno ev entno evno lay strzap no bit ingno bitno lay str noreent enting str strbitit ent noent str ingsatstr no keyzap evbit keyzapno to refor evno nonofor thezapof lay strit laystrno nolay of noyou forkeyre no no for\nno nolaystr bitnono layno noerre isre strand\nsatsat zapno for layer ententev 	{}
5722885833196656289	1759999861	11	1	\\x4f6bc65819cd56a131f9e1a798e26de9edd395da3b65d72b86a56bdd00de27cb	\\xd1ace8a380614d74658ef67d3f18dfc1dcce4b2cb54f76d968d9166e709b335cbc364699933a5ea30143e742e570fdbab789edfd61200cc5f089ef8f2723a2cc	\\x02040265415830e9b72f162a8c42e19f57c3e18aec60781748f18197e8d7b08ab4abcc6c44307773733a2f2f72656c6179302e6578616d706c652e636f6d08726f6f7402027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	andlayno nobit ev satnozap\n	{-3913247206135417308,660124028138566066}
-6501538775569162758	1759999857	6	7	\\xa5c5e4ee24c59dfa7455ea409ca9e94cb77e10932558363631abff6439623a2b	\\x860805d67ac316f19830e3443259315dad71e53f0d04f5fbb55242eeea6942af359fb8534f1135eb29a11430c4a4fedddedd63326de9d9f1e89629c669824b49	\\x0204026541c3873939e0b47c81ab8c137b7812808407651116344d7d4f6563a9767ad6aedf000002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	+	{-5087407449330295439,660124028138566066}
-466692502106742131	1759999853	2	10002	\\xf985f9a45896e28d576f772c40121b5dab3dfa0f91b22a1ccbc78cda6e4c938b	\\xe7b1739c86fe646ffffac1e796518aaf49d40826d765bf0fda8531d43efca366cfd3768f84beec359145337933fd8a3c18e603a3f6f6ded07d5c344c398f0dc2	\\x05020272307773733a2f2f72656c6179302e6578616d706c652e636f6d020272327773733a2f2f72656c617935312e6578616d706c652e636f6d020272307773733a2f2f72656c6179352e6578616d706c652e636f6d020272327773733a2f2f72656c617933312e6578616d706c652e636f6d020272327773733a2f2f72656c617935342e6578616d706c652e636f6d		{-7488413370817833581,-5503548513320867176,-2483838910631813437,2085072274697431551,4206748311791715151}
-6134315775868086403	1759999852	12	1	\\xaade884d874ed77dfbe01faec55b2c0261e9e0f346a54bdd50ae2593fecca899	\\x8a3b9432bfcbc518e8dc62373ff29fe7ba281172147b3151f55e774dce01f3b54f5ec5da83920cb2961996a84116100ff8c314bc9e8a893a53888a4a9252812b	\\x02040265411094a64c8a9a417b3d0f45ebb74b8df7127e87502354a6ca46340ae9523cbfda327773733a2f2f72656c617935352e6578616d706c652e636f6d08726f6f74020270416182d9cba545d71f966357673dcb8131fd0fd6bee06c7eba2c39ed2673561911	laytheno str\nnoandly\ningkeyno nobitno eventsat 	{-1739315757174909313,8900272135798398095}
799013082114710123	1759999849	1	7	\\x0b16aa2a32565a6bcb8042e5394819971d6036eb369beb8dd54b390166c3f6c2	\\xeeb33b482829afd03b93cfb99b895155dd7559d6ef8fd206b4459a676da7ee0650c139307a903f61295dfb0f8c0d35f7cea7e9c53697fdc434f74c78c1fb9c43	\\x0204026541a191231aa70ac96f27e631bb16a007a0dc4fa1154c44c706045f57e065405eb0000002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	+	{-460963346107579484,660124028138566066}
819909059091191186	1759999846	10	7	\\x0b60e6f1f7415592228fb6cd73b17690a58effc61e3d1eb3d9b80be509f98292	\\x8d0fc92c553edf77ae4f0ce076ffc7e0e83b385b95631d4109ef6e71fd5c4887870f88093b921fae49eae33779f94d2f93ddbe89c6e554230ad16b7446ea7e13	\\x0204026541a27795f96e521f7a57266fff05f7253abb4b0545787a9ffeefa4b089c0772cc4000002027041f2683ea08c2bedf34ff60549fb2c490d74c7ba95814e53d9ee7c7fc17aa5caf0	+	{176635955034943988,4227593675921317562}
-6604073183165918916	1759999843	10	0	\\xa4599e6e06b6513c580179c286a94235c2a732cb5eee6baf499e7b24defc0fa7	\\x0ca8736ab073f2592844e88bcc7c22728b6a8e0a2c9e20b33f80dd07018e3bbeab7c8986e7f7824c21c72f4b6d9c162abd4136cfe6b9e31458bb599062058472	\\x00	{"about":"erisno\\nre key ent nonono erre noiszap\\nstrno nono noonkey nobitre str str strevkey reno thefor nolaystr satno coin no key no coinevent nostr nonozap the\\nevno sat layof unrestr noent no ly satnono no nostr ","lud16":"nothelay nostr ","name":"str nono ","picture":"https://isevno.example/72c3929a099b6cbbb25b20849fbd2f749cff6c19ba59ead2c002b79262c81ae1.jpg"}	{}
-2934985977482804061	1759999839	6	30023	\\xd744d5cdbf6284a3f2faff496438200afe49ed08b27220326e60078058f554ef	\\x4121ad4134bc1424c2c2183f21464a775d9d88bafda68c206b5efc5c9c2b65927a465e999fd236d9087c946b8d87236711da7a7e8d9efe3ce9f715c7987ee43a	\\x0202026410706f73742d32383102027410746f706963313235	ofevon toyouno no the ingrezap no lay keykey nobit\nnonono strnobit str nono strlayent un andno entlayun nono bitnolay noent nozapbit noon thenono nono\nlay evstrsat\nent is satno keyyou entnono noonno forzap younocoin coin ernoer nofor strnoev\nnostrly onevsat nonono reing\nlystrlay re recoin anding sater er nokey ing\nent\nnoyou nono str\nno ev noand noevzap\nnono evno lylyno nono onerno noun\nstrno layno no nono no coin no recoinkey no\nnono bitstr nostrre nosatre nonono strstrsat no str nonoev key on un isno nonoing entre zap satno evthe renono bit\nsat ofnono theno\nly nouncoin nocoin andnoto strstr laynoyou forkeyyou str reno evyou zapunstr evno strforno reno bit ingnoer nonoev nolyno\nentnono nono the noentno no keyitno no nono re nounno no nore str nostrno lyer lyreis laycointo onsatthe\nre ernono strstrev bit\ningstrno str\nthezap coin ingsat unno ofentis for no ent nobit nokey nozap nobitno youstr re enttokey is\nonreno noitev\nevevno noevto zapno lay\nnoev keynoing nonosat\ncoinlay andforon it\nnosat zapandyou no bitstris laytoon noand zapnono coinnoon re re er nono ev str nono nokey no eving is no\nrelayev satno\nis\nno nonono no no str noerno laytono entand nosat nono no theentno noingun lay strbitstr str ing\nzap ing layitno\nthe no str no strnono evno re strtheof no forkeyno er thebit ing forno noevent no is isnore ingnono layofno noingkey ent noent coin nore er rely nostrstr strun bitzap noly no ly layno nonostr sat onzapstr noentre nonore reun is ly no on renono youerstr\nlaynono lyno for reev forevlay nozapev string sat str onfor nono thenobit lay no reno evstrkey no\ning str strreno key lay\nno evkeyzap no\ncoinentis no evstr no itzapno nono ofsat ent ly saterstr nono keycoin bit no noonkey sat for no youre str layand nosatkey no to nokey nonoly ingno nobit un re no ononly of nono entstrkey laynono ent satnoev lynoing unno sat key noon no lay evand restrstr ingandlay ernothe noly laystrto re re strnono str\ningsatno no laynostr strnoon zapsatfor str entno str enton and satto str you lay satnoev nostr to re\nno bitno nostr str nozapbit ingre no evno rebitno no\nforkeyre ent lyevzap no the str youev zapno nolayno zapforbit the of er erno entstr ingnolay zapno\nnono no keyno\nnoof nono andkeyon\nno sat\nno strnono renono coinyou sat ev theno nono youforstr ing ingno no sat strnono nolayon keylykey sat\nno no satev\non strno nostr\nlyingno nobit noonre\nnono no strthe str restris ly no itcoinno lay zap entno thestrno itisstr strbit notheing keylayno str keykey younono er nofor for noev 	{-1464146120424110862,3724104030157861746}
-6124439072167988748	1759999836	8	6	\\xab019f1ccee771f4d805df04024212a83abccd659f66020e4a0ba4b9720b0f06	\\x5e94d34697722c79e978476f020a7f0a309fef4712ee346f5ad18fb8a681042568479284bc0ffc3d23998d98be1b3cdd98f48668618e63aa1cde977ba65ad6b9	\\x0204026541a377d028e7b408515d2add8ddb75f4b05e8cfa14697fabc907047af72ce9b6bf307773733a2f2f72656c6179372e6578616d706c652e636f6d0002027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1		{-5130160891652758236,660124028138566066}
-1799320260120958437	1759999832	11	0	\\xe70787c1b253aa1b845748c483b3e47ba9fa403f61957172381571aa66403ffb	\\xb0331bde4805eb651b97887a0dd0fc44643055611a3ae295b960c30cd79c54dfa3e7434fe090021371520ac96a910589f7562b434c707e365307c17b9e1f6a02	\\x00	{"about":"strno nonono zapstrno nonoand youstr\\nnoonno lay strand strlay sat re no key str nono lyyou nore thenono strand re and coin lyno bitingno tonore tothe zapreno keyrelay noof nokeyzap zap keyit no reev no ","lud16":"strcoin nostr ","name":"no bit no ","picture":"https://thelayno.example/71760f7165acf2b976d39a1d4f4b48b0d8825b55bd35a8218710f242f1453023.jpg"}	{}
1554427165648296866	1759999831	10	7	\\x15926f457daf1ba2d4caa839db2cd4138cf07c0d6374019816962d6a756d834e	\\x860b0c6059aa5d015d805b3eccfcca90c409faa3fc968e5c61d14a3a3f5800aabdc0ce0ee24e72f8f5c069010ecad4e35ebb3541abcc085b4b84197fc631eecb	\\x020402654120ce5db56702c72f175a1dc014c9e0615c45b6ffcb7ebe875bbcee2a375eb23c0000020270416182d9cba545d71f966357673dcb8131fd0fd6bee06c7eba2c39ed2673561911	+	{-5780887123149811614,8900272135798398095}
4347879605327404346	1759999827	3	1	\\x3c56c57709b49d3a0b047d2f095503060e779b7c2a149114efc5885f6cc3bceb	\\xc796e9de53399c3f00d0bce27b9c26222a356cb7635bfb81bb86f23d0c843df291708fe4bb488187833745131bbec969b61f079cf49211624354c24ede0f3c4c	\\x02040265412f63869612b255a8d4c3028f3be2b6e5af9054d34047be28ab43195b84ddc03e327773733a2f2f72656c617932382e6578616d706c652e636f6d08726f6f7402027041c1bbd928a1797bd532b6db1d4713324d88324dc049371f49abead35cd21b00e1	strzap zapentno coinno\nevsat tozap and noandno no noto ingtono\nreno strno no nono\nent strno 	{660124028138566066,3863034084977469318}
-8344851039515124667	1759999823	12	1	\\x8c3122314626dc45f47e3b5d38cf308291746ba5c408a3a42d2b0b0a1493da6d	\\x268de421416f23707a679079d733d53874caf380eb9f42229ca7bcd5306947b6c302276bf25b5743c328c1e50772a210e4dcd2fec4938e52c7e9ac9a20b180db	\\x0204026541fd5070fca54ac903fdf57b6b8210e6a4c284da640ca13c74399ffee091a8699e327773733a2f2f72656c617931372e6578616d706c652e636f6d08726f6f7402027041420645c3a8c6897570b5f3269ff2b3886d9199dba48be1819288d896c44611cf	onstr tonokey re lay keylay 	{-5447583695986296255,-3495203373724200054}
8052945131707406001	5	10	1	\\x6fc1ceee532196b151b3165b365f57d58cec64633c4b1063c32fe05f00fb6cb0	\\x889223a46719a3bb9c69778a70fe54ffaea348ce4387d8e71b589bc12580ecc938b8787bc57f4f3ab86743b4cecf7f789a7116d6d2a4129e060a4e4ebc5cb8e8	\\x010202641077697468006e756c61204e554c20002077697468696e	a NUL � within	{5662955868796868983}
\.
COPY public.gap (relay, filter, since, until, reason, count, tried_at) FROM stdin;
1	{}	1760000001	1760000050	timeout	3	1760000200
\.
COPY public.hidden (event, reason, since) FROM stdin;
8052945131707406001	deleted	0
\.
COPY public.job (id, kind, customer, request, received_at, status, ended_at) FROM stdin;
\.
COPY public.kind (kind, events, pubkeys) FROM stdin;
0	4	4
30023	1	1
7	20	7
1	29	10
5	1	1
6	6	5
10002	1	1
\.
COPY public.metadata (relay, generated_at, type, document, rtt_open_ms, rtt_read_ms, rtt_write_ms) FROM stdin;
1	1760000100	nip11	\\x1a778d2c9edd6e91d50e7675c0d19bf5057a4ae951d927120e0091e9569fe497	50	20	30
1	1760000100	nip66	\\x50cba118a46cac88fbeb044519897d40a08478545d8e1c74dbf9f6220aa61725	50	20	30
1	1760003700	nip11	\\x1a778d2c9edd6e91d50e7675c0d19bf5057a4ae951d927120e0091e9569fe497	50	20	30
1	1760003700	nip66	\\x50cba118a46cac88fbeb044519897d40a08478545d8e1c74dbf9f6220aa61725	50	20	30
\.
COPY public.outbox (k, event, relay, body, queued_at, due_at, attempts, sent_at, trouble, slot) FROM stdin;
\.
COPY public.relay (k, url, network, discovered_at, state, checked_at, failures, check_due_at, sync_due_at, events, first_seen_at, last_seen_at) FROM stdin;
1	wss://relay.example.com/	clearnet	1795501775	up	1760003700	0	1795501775	1795501775	62	1795501775	1795501775
\.
COPY public.search (event, document) FROM stdin;
-4177437157061847063	'/aced357cc9f3c7add7aff7d8c9f6aa3cada8ffd9dbe1d6ec12d81b58c10a1b5a.jpg':47 'about':1 'andnono':29 'andunlay':39 'coin':3 'ent':5 'erno':35 'evno':17 'ing':6,44 'itre':18 'key':41 'laying':21 'laylayno':22 'lud16':36 'name':40 'nandbitlay':30 'nevnore':42 'nnoentno':12 'no':16 'nocoinon':2 'noerno':38 'noev':15 'nokey':11 'nono':9,32 'nonono':34 'noonev':28 'nothe':25 'on':4,27,37 'onnoof':8 'picture':43 're':24 'recoin.example':46 'recoin.example/aced357cc9f3c7add7aff7d8c9f6aa3cada8ffd9dbe1d6ec12d81b58c10a1b5a.jpg':45 'renolay':31 'satno':20 'strnozap':23 'strreno':7 'strstr':33 'tono':19 'tore':26 'you':13 'zap':14 'zapno':10
-7305849181404211458	'coinzapre':2 'laysat':4 'lynostr':3 'nois':1
5390944237920576432	'bit':14 'bitkeyev':16 'bitzap':21 'entlayand':3 'erre':9 'forre':22 'ing':19 'ingno':5 'is':8 'it':12 'no':4,10 'noentent':6 'noevthe':18 'noevzap':11 'nolay':20 'nounzap':17 'nozap':13 'satev':2 'str':15 'strentkey':1 'to':7
-1739030416502498880	'evno':1 'ly':4 'nore':3 'strentof':2
-2284033127174723184	'coin':2 'ent':29 'erlay':5 'erstrof':24 'evnono':30 'ing':27 'is':1 'isnoto':25 'key':3 'layno':22 'laynolay':33 'laynoun':10 'no':8,20,23 'nolaystr':16 'nono':12,14,31 'nonono':13 'nostr':21 'relayno':4 'reonno':17 'rere':36 'sat':32 'satnoer':6 'str':7,9,19,34 'strstr':35 'the':11 'theentzap':26 'thenoand':28 'younoand':18 'zapno':15
-2399109660182290396	'andno':27 'andon':52 'bit':45 'bitnono':59 'coinly':26 'coinstr':30 'entandno':79 'entandre':31 'entno':38 'er':14 'eventsat':72 'evkeyno':35 'for':54 'ing':78 'ingreto':32 'it':44,53 'itno':20,29 'key':24 'keyre':2 'lying':21 'no':7,8,23,33,34,42,43,50,61,62,64,65,66,73 'nobit':9 'nobitstr':76 'nocoinno':67 'nocoinstr':37 'noevkey':1 'noevstr':77 'noit':39 'nokeysat':3 'nolay':15 'nono':5,36,51 'nonolay':48 'nonono':18,25,70 'nonozap':47 'nore':74 'norezap':69 'nosating':4 'nozap':60 'of':63,71 'ofnobit':40 'ofzap':19 're':46 'reno':11 'renolay':58 'restrno':56 'rethe':41 'str':22,28,75 'strno':68 'strnore':16 'strzapent':13 'thenoer':55 'tocoining':12 'tostr':17 'unsatlay':6 'zap':10,49 'zapbitre':57
2435765608699440662	'andlayly':85 'andnois':102 'bit':95 'bitno':134 'bitun':31 'coin':11 'coinno':38 'coinofer':111 'ent':67 'entno':140 'entnono':26 'ernono':36 'ernore':59 'erstrno':109 'ev':29 'evandis':43 'evandstr':103 'evev':69 'evkeyno':65 'evlaystr':22 'evofto':129 'evstrfor':97 'evunstr':89 'for':1 'inglayre':40 'ingstrev':62 'is':88 'isisre':126 'isunon':34 'itno':10 'itstrno':108 'key':51,106,115,128 'keystr':104 'keyun':3 'keyyouent':133 'lay':33,47,113,120,122 'layit':12 'laylay':92 'laylayyou':17 'layno':83 'laynoand':49 'laynocoin':112 'laythe':141 'ly':14,98 'no':6,9,20,48,52,54,76,91,117,118,124,137 'noent':61 'noevev':121 'nokeyit':46 'nolayfor':74 'nolayno':37 'noly':71 'nono':2 'nonoit':93 'nonolay':116 'nonoly':131 'nonono':77 'noonno':24 'noonstr':13 'norebit':56 'noreof':99 'nosat':75 'nostr':96 'noyou':82 'nozap':57 'nozapis':39 'of':19 'ofis':32 'ofthe':21 'oncoin':4 're':53,114 'rebitzap':100 'recoin':84 'reev':45 'reevbit':119 'reing':78 'rekey':30 'renono':81 'reofno':58 'rere':8 'restrof':139 'reyouno':87 'sat':7,80 'satre':44 'sattono':94 'str':16,25,55,64,66,79,105,127 'strandto':70 'strbit':130 'strev':68 'strevno':42 'strno':27,123 'strnois':15 'strsat':138 'strstrstr':107 'strzap':50 'the':132 'theand':73 'theevno':86 'thesat':110 'to':18,72 'toer':90 'un':135 'unkey':125 'unon':60 'you':63 'youzap':28 'zap':23,35 'zapev':101 'zaplay':5 'zapsatzap':136 'zapto':41
-4150813312726203670	'/09007fb4f57f1b083e17ed324793998f0b617eb2bc76c41df44f54b0759cbac3.jpg':44 'about':1 'coinlay.example':43 'coinlay.example/09007fb4f57f1b083e17ed324793998f0b617eb2bc76c41df44f54b0759cbac3.jpg':42 'ev':30,38 'evno':28 'inglay':20 'isno':13 'isnoent':14 'isyouev':32 'key':37 'layent':22 'laystrzap':29 'lud16':34 'name':39 'nentbitno':6 'nno':10 'nnonono':27 'no':3,9,15,35 'nono':2 'nonono':25 'nonostr':16 'nonozap':8 'norestr':24 'nostrzap':18 'nothe':19 'noyou':4 'picture':41 'rekey':11 'satno':21 'satto':33 'str':36 'strbit':23 'strentno':40 'strno':5,17 'strnono':7 'thenono':26 'to':12 'zapbitstr':31
302918728905216255	'is':8 'keyno':5 'lay':6 'layno':1 'no':3 'nobitent':4 'nois':2 'nono':10 'nonozap':9 'reto':7 'strnolay':12 'youent':11
-1892312192163013443	'evisno':2 'for':3 'no':1 'strstrno':4
-4797199508946423904	'and':21,25 'bitstrun':12 'coinisstr':14 'ent':31 'entnono':17 'entsatno':7 'er':6 'erkey':36 'ernolay':49 'ev':52 'evno':8,15 'evnoent':9 'evthe':46 'itonstr':2 'itzap':27 'key':44 'layitno':50 'layno':11 'layre':1 'layrestr':16 'no':34,39,45 'nobiter':48 'noit':35 'nolay':22 'noly':51 'nolyer':10 'nonoent':47 'nonoof':30 'notore':41 'noun':23 'of':38 'ofthely':42 'on':3 're':5 'rebit':18 'recoinstr':26 'reisno':43 'restr':53 'restrno':32 'satlayre':37 'strbit':13 'strisre':33 'strlycoin':4 'stryou':28 'un':19,40 'you':29 'zap':20 'zapstrof':24
1936472283433787070	'andnoent':27 'bit':25 'coin':94,118 'coinev':71 'ent':50 'entno':9 'entnore':35 'er':34 'ev':6,87,111 'evit':102 'forno':51 'is':42 'isre':61 'isstr':63 'key':2 'keyno':30 'keysat':5 'layingent':57 'laynolay':55 'ly':16 'lynobit':76 'no':7,8,17,19,21,26,56,58,64,67,70,75,77,78,97,104,108,112,115 'noander':100 'nobit':24,40 'noent':36,68,74,85 'noenting':60 'noentof':65 'noingno':101 'nolay':37,59 'nolaystr':38 'nono':11,18,29,41,86,92,96,122 'nonois':69 'nonolay':33 'nonono':13,54 'nonore':1,22,52 'noonto':82 'nore':62,91 'nostrent':47 'nostrev':95 'nostrno':81 'notheit':79 'noyou':28 'ofthe':49 'ofzapev':93 'on':3,116 'onbit':10 'onev':66 'onitno':83 'onno':90 'ontostr':12 're':39 'reev':73 'reevon':88 'reevthe':105 'rekey':20 'reno':46,114 'renore':4 'reyouyou':31 'sat':103 'satbit':110 'satingno':117 'str':14,43,48,98,109 'strcoinno':106 'strerno':84 'strno':23,45 'strnolay':80 'strnono':53 'strnore':119 'strreto':121 'strstr':15 'the':32,44 'thenoon':107 'thesatno':99 'tonostr':72 'youstrno':113 'zap':120 'zapthe':89
-5423877679312914849	'it':11 'keyno':3 'layentkey':1 'laystryou':9 'no':5 'ofbitstr':14 'ofno':7 'ofstrand':12 'onev':6 'renono':13 'sat':10 'strstr':2 'to':4 'you':8
4968449434921266166	'entno':13 'forisno':12 'no':9 'noisno':3 'nolay':2,5 'nono':10 'nonoent':1 'nozapno':6 'rekey':15 'strandis':4 'strnozap':14 'to':8 'yousat':7 'zapun':11
5722885833196656289	'andlayno':1 'ev':3 'nobit':2 'satnozap':4
-6134315775868086403	'eventsat':6 'ingkeyno':4 'laytheno':1 'noandly':3 'nobitno':5 'str':2
-574142764272431251	'andno':3 'andnono':23 'bit':9 'bitbitzap':18 'bitnono':75 'coinentno':31 'coinno':10 'cointo':40 'entnono':11 'er':73 'evkey':72 'evnono':6 'evstr':44 'ingno':1,45,68 'ingnoent':24 'ingsatno':69 'itisno':36 'keycoinno':67 'keynolay':70 'keynono':25 'keyto':43 'layandev':56 'laystrzap':42 'no':7,28,29,63,65,71,76 'nocoinkey':13 'noing':60 'nonocoin':37 'nonoer':20 'nonono':41 'noofno':64 'nore':21 'noreno':46 'noreof':66 'nosat':19 'nostrthe':77 'nothe':14 'notheno':33 'noto':34,39 'noyou':57 'onnoer':30 're':4,53,59 'recoin':12 'reno':58,74 'reto':61 'retono':49 'satkey':32 'satstrno':26 'str':2,17,22 'strentno':47 'strevsat':50 'strlay':35 'strno':15,52 'the':5,54,62 'unlayis':8 'you':48 'zap':38,51,55 'zapev':27 'zapstrstr':16
8650922511344532886	'andtono':68 'bit':46 'bitnono':49 'bitsatlay':57 'coinev':54 'ent':16,50 'entlay':5,17 'entyou':83 'ev':53,60,64 'evonand':73 'evstrent':31 'evyoulay':22 'ingre':23 'isno':32 'key':47,75 'keyonit':56 'layingkey':7 'laynois':52 'layof':25 'no':6,14,20,36,39,62,67,78,80,87 'noand':66 'nocoinno':42 'noent':72 'noevzap':3 'noing':43 'nokey':70 'nolay':74 'nolayev':45 'noly':9 'nono':11,12,15,29,34,44,79 'nonoent':58 'nonolay':85 'nonono':41 'nonore':84 'nore':1 'norefor':2 'nosat':8 'nosatstr':48 'nounno':18 'nozaplay':10 'on':61 're':30,33,63,71 'recoinre':24 'reev':81 'rere':21 'rezap':40 'satnono':19 'satreno':86 'str':4,59,69 'strevno':27 'strit':38 'strnono':35 'strreno':82 'strsat':51 'strstrno':55 'the':76 'to':26 'totheno':77 'unly':13 'younono':65 'zap':28 'zapcoinno':37
-7270072204177981769	'and':156 'andcoinno':120 'andnolay':145 'andstrre':75 'bit':24 'bitno':162 'coincoin':171 'ent':11,134 'entlay':139 'entnono':105 'ercoin':119 'eryousat':148 'ev':17,56,61,178 'evis':48 'evisno':62 'evkeysat':172 'evnono':107 'evnostr':117 'evyou':88 'for':2 'forre':137 'ing':22,32,115 'ingnosat':33 'is':86 'itno':25,125 'itofno':10 'itthe':53 'key':4,63 'keyent':93 'keystrkey':94 'keyzap':60 'lay':59,74,95,142,174 'laybit':114 'laylayre':122 'laynolay':179 'layyou':84 'ly':44 'lyandno':3 'lyev':55 'lynono':96 'no':5,6,7,14,21,36,37,39,46,52,67,68,72,87,90,91,102,108,121,124,126,128,129,130,133,154,161 'noand':106 'noandfor':164 'noent':131 'noentev':16 'noentzap':176 'noforstr':34 'nokey':42 'nolay':149 'nolayno':69 'nolyev':127 'nolyno':97 'nono':23,45,100,104,136,140,144,157,163 'nonoand':65 'nonokey':123 'nonono':113,135,153,173,182 'nonoon':150 'nonostr':166 'nonoyou':147,160 'noon':70 'nore':79 'noreent':54,143 'noreno':28,89 'nosat':50 'nostr':98,151 'nostrno':85 'nostron':101 'nostrzap':80 'notheof':83 'noto':35 'notono':77 'noun':29 'noyou':58,177 'noyouno':175 'nozapzap':51 'of':146 'oflayun':181 'ofno':81 'on':73 'onno':1 'onnono':159 'onreno':138 're':64,76,111 'reentev':9 'reon':184 'restr':40,99 'restrkey':38 'retheyou':170 'satnofor':43 'satnosat':13 'str':49,92,103,110,132,141,155,165,183 'strand':109,180 'strent':82 'strerno':30 'strev':167 'strkeyno':168 'strnono':158 'strunno':12 'the':41 'theno':15 'tono':19,31 'toyouno':8 'uner':27 'unnolay':118 'unnore':47 'unsatly':71 'you':116 'youno':169 'zap':20,112 'zapentyou':57 'zapevof':66 'zapevzap':18 'zapkey':26 'zaplay':78 'zapno':152
6742943194430358305	'and':37 'andkeyev':44 'coin':22 'coinnolay':16 'ent':14 'evrethe':10 'forstr':36 'ingzap':31 'is':47 'isisstr':1 'itkeyent':40 'lay':25 'layit':3 'laynono':45 'laynosat':15 'lyev':12 'no':2,9,13,18,32,42 'nolayno':19 'nono':8 'nonoent':38 'nonoev':17 'nonoing':28 'nonolay':24 'nonono':43 'noof':34 'noreno':20 'nostrlay':6 'nostrno':26 'ofnono':39 'onkeyno':5 'restrzap':41 'sat':11 'satno':33 'saton':29 'str':21,23,27 'strsatno':7,30 'the':4 'zap':46 'zapstr':35
-2543064676005366249	'entno':7 'for':5 'lay':6 'no':4 'nocoinno':3 'rebitno':2 'strno':1
5114228282988689210	'andis':23 'bit':53 'bitisand':18 'bitnono':75 'entnois':63 'entof':49 'erstr':17 'ev':35 'eventev':16 'evnoto':50 'for':11,29 'ing':41 'is':37,56,65 'isno':4 'it':24 'itbitstr':69 'keybit':27 'keyev':22 'keynono':55 'keystrno':52 'lay':39 'layand':59 'layev':62 'laynokey':57 'lyingkey':73 'no':1,13,15,25,30,32,34,42,44,54,58,68,71 'nocoin':70 'noenting':43 'noer':14 'noingno':21 'noit':19 'nokeyno':6 'noly':5,26 'nono':46 'noof':38 'noreno':31 'nostr':7,8,36 'nounkey':51 'ofno':3 'onstrno':74 're':33 'reentre':67 'restr':45 'sat':64 'satno':61 'str':28 'strfor':20 'stris':9 'strrebit':48 'strstrlay':72 'strstrsat':10 'the':66 'theno':2 'you':12 'younocoin':60 'zapisno':40 'zaplay':47
-6553465655510467408	'andno':6 'ent':15 'er':12 'eruning':11 'evev':13 'ingnoon':18 'ingzapno':16 'key':5 'noentno':10 'nolay':2 'nolaysat':3 'nono':17 'nonono':7 'noonno':4 'onlayno':8 're':14 'str':9 'unlayyou':1
-2321324461138352468	'and':14 'bit':23 'coincoin':3 'coinno':17 'coinstr':21 'ent':19 'ercointo':13 'forno':18 'isbit':1 'isno':5 'no':16,22 'nolayno':4 'nore':8 're':12 'restrlay':15 'restrno':2 'satforno':7 'str':6,11 'strfor':10 'strno':9 'zap':20
7941910384043135165	'andnono':28 'andre':8 'bitlayno':53 'bitzapre':72 'coinon':5 'er':35 'erno':36,70 'eronun':16 'ev':61 'evunkey':19 'ing':43 'isnoand':41 'itnono':21 'keyno':51 'lay':71 'laykeyof':49 'laylyno':42 'layno':48 'layre':26 'layyouno':69 'lybitbit':2 'no':3,23,25,33,52,56,66 'nobitno':1 'nocoinly':73 'noentun':64 'noforno':67 'noingno':54 'nolay':38,46 'nono':15,59,62 'nonois':50 'nonoyou':14 'nostrzap':4 'notothe':29 'noyou':9 'of':11,34 'ofno':13 'ofstrno':10 'on':63 'onno':68 'onstrno':6 're':45 'reandand':18 'renoev':20 'reofbit':17 'restrfor':32 'satyou':75 'strforno':57 'strno':22 'strnolay':31 'strstr':24 'the':47 'theerno':12 'theno':74 'thenoer':40 'thenono':37 'to':60 'tonono':27 'unstryou':30 'you':55 'youing':44 'youthe':65 'zap':7,58 'zapcoin':39
-1379973146326166106	'ev':2 'evno':5 'ingno':6 'no':3,4 'noit':1 'nono':7
7420968186012147554	'bit':2 'coinre':1 'entevly':17 'everstr':26 'ingnolay':15 'key':16 'keykeyto':20 'keyno':3 'lay':18 'laysat':10 'no':4,14,24 'nofor':13 'noinglay':27 'noly':9 'noreno':7 'norestr':5 'nothere':8 'on':22 'onnono':12 'reno':21 'renoun':23 'str':6,11,19 'the':25
7541971375317146429	'bit':13 'bitno':15 'bitnono':47 'ent':22 'ententev':56 'enting':19 'entno':8 'entnolay':5 'ev':7 'evbit':28 'evno':9,32 'for':44,54 'forkeyre':41 'ingno':14 'ingsatstr':25 'isre':50 'keyzap':27 'keyzapno':29 'lay':10,16,35 'layer':55 'layno':48 'laystrno':37 'lyer':4 'no':2,3,12,26,42,43,45 'noent':23 'noerre':49 'nolay':38 'nolaystr':46 'nono':1 'nonofor':33 'noreent':18 'noyou':40 'of':39 'refor':31 'satsat':52 'str':17,20,24 'strand':51 'strbitit':21 'strit':36 'strzap':11 'thezapof':34 'to':30 'zaperno':6 'zapno':53
-6604073183165918916	'/72c3929a099b6cbbb25b20849fbd2f749cff6c19ba59ead2c002b79262c81ae1.jpg':47 'about':1 'coin':20 'coinevent':24 'ent':5 'erisno':2 'erre':7 'isevno.example':46 'isevno.example/72c3929a099b6cbbb25b20849fbd2f749cff6c19ba59ead2c002b79262c81ae1.jpg':45 'key':4,22 'layof':30 'lud16':38 'ly':34 'name':41 'nevno':28 'no':21,23,33,36 'nobitre':12 'noent':32 'noiszap':8 'nolaystr':18 'nono':10,43 'nonono':6 'nonozap':26 'noonkey':11 'nostr':25,37,40 'nothelay':39 'nre':3 'nstrno':9 'picture':44 'reno':16 'sat':29 'satno':19 'satnono':35 'str':13,14,42 'strevkey':15 'the':27 'thefor':17 'unrestr':31
-2934985977482804061	'and':345 'andforon':165 'anding':46 'andkeyon':386 'andno':16 'andnoto':100 'bit':93,111,136,293 'bitno':355 'bitnolay':19 'bitstr':75 'bitstris':170 'bitzap':239 'coin':35,70,140,233 'coinentis':281 'coinlay':164 'coinnoon':174 'coinyou':392 'ent':27,51,146,231,288,317,365 'entand':197 'entlayun':17 'entno':342,425 'entnono':31,115 'enton':344 'entre':88 'entstr':378 'entstrkey':315 'enttokey':153 'er':48,177,220,235,376,434 'erno':377 'ernoer':36 'ernono':134 'ernothe':329 'ev':56,179,394 'evand':326 'evevno':157 'eving':184 'evkeyzap':279 'evno':60,108,215,361 'evstr':283 'evstrkey':271 'evstrsat':26 'evthe':91 'evyou':106 'for':144,258,297,436 'forevlay':260 'forkeyno':219 'forkeyre':364 'forkeyyou':103 'forno':223 'forzap':33 'ing':50,206,208,222,273,398 'ingandlay':328 'ingno':307,399 'ingnoer':112 'ingnolay':379 'ingnono':228 'ingre':359 'ingrezap':5 'ingsat':141 'ingsatno':336 'ingstrno':137 'is':28,154,185,189,226,250 'isno':86 'isnore':227 'it':166 'itcoinno':422 'itisstr':427 'itzapno':285 'key':83,276,322 'keycoin':292 'keyitno':120 'keykey':8,432 'keylayno':430 'keylykey':404 'keyno':383 'keynoing':162 'keyyou':30 'lay':7,25,160,203,268,277,325,349,423 'layand':301 'laycointo':131 'layitno':209 'layno':66,243 'laynono':256,316 'laynostr':338 'laynoyou':102 'layofno':229 'laystrto':331 'laytono':196 'laytoon':171 'ly':97,242,251,289,420 'lyer':129 'lyevzap':366 'lyingno':412 'lylyno':61 'lyno':257 'lynoing':319 'lyreis':130 'lystrlay':43 'no':3,6,55,67,69,71,73,80,119,121,125,145,169,183,186,190,192,193,200,211,213,218,225,241,252,269,272,278,280,282,284,294,298,303,311,324,337,354,360,363,367,382,387,389,400,406,407,416,421 'noand':57,172 'nobit':9,147,308,413 'nobitno':150 'nocoin':99 'noent':20,232 'noentno':118 'noentre':247 'noerno':195 'noev':161,437 'noevent':224 'noevto':158 'noevzap':58 'nofor':37,435 'noingkey':230 'noingun':202 'noitev':156 'nokey':49,148,182,305 'nolayno':372 'nolayon':403 'noly':240,330 'nolyno':114 'nono':13,18,24,53,59,62,68,74,116,122,178,181,199,266,286,291,314,381,385,396,415 'nonoev':82,113 'nonoing':87 'nonoly':306 'nonono':10,41,78,191 'nonore':248 'nonosat':163 'nonostr':244 'noof':384 'noon':22,323 'noonkey':295 'noonno':32 'noonre':414 'nore':126,234 'nosat':167,198 'nosatkey':302 'nosatre':77 'nostr':351,356,411 'nostrly':39 'nostrno':128 'nostrre':76 'nostrstr':237 'notheing':429 'noun':64 'nouncoin':98 'nounno':124 'noyou':52 'nozap':149 'nozapbit':21,358 'nozapev':261 'of':313,375 'ofentis':143 'ofevon':1 'ofnono':95 'ofsat':287 'on':84,253,409 'onerno':63 'onevsat':40 'onfor':265 'ononly':312 'onreno':155 'onsatthe':132 'onzapstr':246 're':44,123,133,152,175,176,216,310,332,333,353 'rebitno':362 'recoin':45 'recoinkey':72 'reev':259 'reing':42 'relayev':187 'rely':236 'reno':105,110,270 'renono':92,254,391 'restris':419 'restrstr':327 'reun':249 'sat':94,245,263,296,321,388,393,401,405 'sater':47 'saterstr':290 'satev':408 'satno':29,90,188 'satnoev':318,350 'satto':346 'str':12,54,81,104,127,138,180,194,205,212,264,274,300,335,341,343,347,357,369,418,431 'strbit':428 'strbitstr':204 'strforno':109 'string':262 'strlayent':14 'strno':65,410 'strnobit':11 'strnoev':38 'strnono':214,334,390,402 'strnoon':339 'strreno':275 'strstr':101 'strstrev':135 'strstrsat':79 'strthe':417 'strtheof':217 'strun':238 'the':4,117,210,368,374 'thebit':221 'theentno':201 'theno':96,395 'thenobit':267 'thenono':23 'thestrno':426 'thezap':139 'to':304,352 'toyouno':2 'un':15,85,309 'unno':142,320 'you':348 'youerstr':255 'youev':370 'youforstr':397 'younocoin':34 'younono':433 'youre':299 'youstr':151 'zap':89,207,424 'zapandyou':168 'zapforbit':373 'zapno':159,371,380 'zapnono':173 'zapsatfor':340 'zapunstr':107
-1799320260120958437	'/71760f7165acf2b976d39a1d4f4b48b0d8825b55bd35a8218710f242f1453023.jpg':47 'about':1 'and':22 'bit':42 'bitingno':25 'coin':23 'key':14 'keyit':33 'keyrelay':29 'lay':8 'lud16':37 'lyno':24 'lyyou':17 'name':40 'nnoonno':7 'no':13,34,36,41,43 'nokeyzap':31 'nono':16 'nonoand':5 'nonono':3 'noof':30 'nore':18 'nostr':39 'picture':44 're':12,21 'reev':35 'sat':11 'str':15 'strand':9,20 'strcoin':38 'strlay':10 'strno':2 'thelayno.example':46 'thelayno.example/71760f7165acf2b976d39a1d4f4b48b0d8825b55bd35a8218710f242f1453023.jpg':45 'thenono':19 'tonore':26 'tothe':27 'youstr':6 'zap':32 'zapreno':28 'zapstrno':4
4347879605327404346	'and':6 'coinno':3 'ent':15 'evsat':4 'ingtono':10 'no':8,13 'noandno':7 'nono':14 'noto':9 'reno':11 'strno':12,16 'strzap':1 'tozap':5 'zapentno':2
-8344851039515124667	'keylay':5 'lay':4 'onstr':1 're':3 'tonokey':2
8052945131707406001	'a':1 'nul':2 'within':3
\.
COPY public.service_state (service_name, state_type, state_key, state_value) FROM stdin;
finder	cursor	events	7
\.
COPY public.sighting (relay, seen_at, since, until, events) FROM stdin;
1	1795501775	5	1760000100	{-8945352229441652076,-8692543937079260554,-8344851039515124667,-8196253021217851461,-7519707926079864971,-7305849181404211458,-7270072204177981769,-6907489284095640198,-6765908846189944850,-6604073183165918916,-6553465655510467408,-6501538775569162758,-6134315775868086403,-6124439072167988748,-5814808514009770174,-5423877679312914849,-5095126489962705709,-4856901813987952566,-4797199508946423904,-4177437157061847063,-4150813312726203670,-2934985977482804061,-2859546721319744406,-2593227860424601171,-2543064676005366249,-2399109660182290396,-2321324461138352468,-2284033127174723184,-2176037292695302155,-1892312192163013443,-1799320260120958437,-1739030416502498880,-1379973146326166106,-1304477991619594458,-574142764272431251,-466692502106742131,132363285035145873,302918728905216255,315283951748401562,799013082114710123,819909059091191186,1461190528176835487,1554427165648296866,1936472283433787070,2435765608699440662,4093854340163525564,4270626945801504898,4347879605327404346,4611299994905319055,4968449434921266166,5114228282988689210,5390944237920576432,5722885833196656289,6033252791640951170,6742943194430358305,7420968186012147554,7541971375317146429,7634831767351980398,7941910384043135165,8052945131707406001,8650922511344532886,9090128469657818936}
\.
COPY public.slot (key, event, created_at, id, deleted_until) FROM stdin;
8167076142912042784	-466692502106742131	1759999853	\\xf985f9a45896e28d576f772c40121b5dab3dfa0f91b22a1ccbc78cda6e4c938b	\N
-4616902589296483868	-6604073183165918916	1759999843	\\xa4599e6e06b6513c580179c286a94235c2a732cb5eee6baf499e7b24defc0fa7	\N
-5353949073905262284	-1799320260120958437	1759999832	\\xe70787c1b253aa1b845748c483b3e47ba9fa403f61957172381571aa66403ffb	\N
5612273873073315871	-4150813312726203670	1759999966	\\xc6655948b5fe02ea2feda2c313e57d29a360534a67f3a916fca3d9a75aceb03a	\N
-2417747016141512473	-2934985977482804061	1759999839	\\xd744d5cdbf6284a3f2faff496438200afe49ed08b27220326e60078058f554ef	\N
-3648237382543175685	-4177437157061847063	1760000001	\\xc606c309e5cf97e94c85c07bf82c9d37c3ce643dbf007c7b575e545141ab7738	\N
\.
SELECT pg_catalog.setval('public.arrival_n_seq', 1, true);
SELECT pg_catalog.setval('public.author_k_seq', 12, true);
SELECT pg_catalog.setval('public.outbox_k_seq', 1, false);
SELECT pg_catalog.setval('public.relay_k_seq', 2, true);
ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.archive
    ADD CONSTRAINT archive_pkey PRIMARY KEY (one);
ALTER TABLE ONLY public.arrival
    ADD CONSTRAINT arrival_pkey PRIMARY KEY (n);
ALTER TABLE ONLY public.author
    ADD CONSTRAINT author_pkey PRIMARY KEY (k);
ALTER TABLE ONLY public.author
    ADD CONSTRAINT author_pubkey_key UNIQUE (pubkey);
ALTER TABLE ONLY public.coverage
    ADD CONSTRAINT coverage_pkey PRIMARY KEY (relay, filter, method, since);
ALTER TABLE ONLY public.deletion
    ADD CONSTRAINT deletion_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.document
    ADD CONSTRAINT document_pkey PRIMARY KEY (id, type);
ALTER TABLE ONLY public.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (id, k);
ALTER TABLE ONLY public.gap
    ADD CONSTRAINT gap_pkey PRIMARY KEY (relay, filter, since);
ALTER TABLE ONLY public.hidden
    ADD CONSTRAINT hidden_pkey PRIMARY KEY (event, reason);
ALTER TABLE ONLY public.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.kind
    ADD CONSTRAINT kind_pkey PRIMARY KEY (kind);
ALTER TABLE ONLY public.metadata
    ADD CONSTRAINT metadata_pkey PRIMARY KEY (relay, type, generated_at);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_event_relay_key UNIQUE (event, relay);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (k);
ALTER TABLE ONLY public.relay
    ADD CONSTRAINT relay_pkey PRIMARY KEY (k);
ALTER TABLE ONLY public.relay
    ADD CONSTRAINT relay_url_key UNIQUE (url);
ALTER TABLE ONLY public.search
    ADD CONSTRAINT search_pkey PRIMARY KEY (event);
ALTER TABLE ONLY public.service_state
    ADD CONSTRAINT service_state_pkey PRIMARY KEY (service_name, state_type, state_key);
ALTER TABLE ONLY public.slot
    ADD CONSTRAINT slot_pkey PRIMARY KEY (key);
CREATE INDEX event_by_author ON public.event USING btree (author, kind, created_at DESC);
CREATE INDEX event_by_kind ON public.event USING btree (kind, created_at DESC);
CREATE INDEX event_by_tag ON public.event USING gin (tagkeys) WITH (gin_pending_list_limit='256');
CREATE INDEX event_by_time ON public.event USING btree (created_at DESC);
CREATE INDEX job_open ON public.job USING btree (received_at) WHERE (status = ANY (ARRAY['received'::text, 'working'::text]));
CREATE INDEX outbox_due ON public.outbox USING btree (relay, due_at) WHERE (due_at IS NOT NULL);
CREATE INDEX search_by_text ON public.search USING gin (document);
CREATE INDEX sighting_by_event ON public.sighting USING gin (events) WITH (gin_pending_list_limit='256');
CREATE INDEX sighting_by_relay ON public.sighting USING btree (relay, until);
ALTER TABLE ONLY public.coverage
    ADD CONSTRAINT coverage_relay_fkey FOREIGN KEY (relay) REFERENCES public.relay(k);
ALTER TABLE ONLY public.gap
    ADD CONSTRAINT gap_relay_fkey FOREIGN KEY (relay) REFERENCES public.relay(k);
ALTER TABLE ONLY public.metadata
    ADD CONSTRAINT metadata_relay_fkey FOREIGN KEY (relay) REFERENCES public.relay(k);
ALTER TABLE ONLY public.sighting
    ADD CONSTRAINT sighting_relay_fkey FOREIGN KEY (relay) REFERENCES public.relay(k);
