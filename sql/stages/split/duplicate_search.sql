-- The last search for duplicates, and whether it covered today's photographs.
with digests as (
    select distinct pixel_sha256
    from images
    where pixel_sha256 is not null
),
today as (
    select
        (select count(*) from images where pixel_sha256 is not null) as opened,
        (select count(*) from images where pixel_sha256 is null) as not_opened,
        sha256(coalesce(string_agg(pixel_sha256, chr(10) order by pixel_sha256), '')) as images_sha256,
    from digests
)
select
    today.opened,
    today.not_opened,
    searches.settings,
    searches.images_sha256,
    searches.photographs,
    searches.pairs,
    coalesce(searches.images_sha256 = today.images_sha256, false) as is_todays,
from today
left join duplicate_searches as searches on true;
