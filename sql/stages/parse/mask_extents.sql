-- Gives the objects whose masks were read their extents, or the reason why there is none.
update merged_objects
set
    extent_left = mask_extents.extent_left,
    extent_top = mask_extents.extent_top,
    extent_width = mask_extents.extent_width,
    extent_height = mask_extents.extent_height,
    no_extent = mask_extents.no_extent
from mask_extents
where merged_objects.object_id = mask_extents.object_id
    and merged_objects.mask_address = mask_extents.mask_address
    and merged_objects.mask_color is not distinct from mask_extents.mask_color;
