"""The photographs of the large synthetic study, 980 of them, against its answer sheet."""

import pytest
from test_planted import (  # noqa: F401 - fixtures and tests, with another sample
    drawn,
    photographs,
    test_every_listed_copy_is_a_copy,
    test_no_copy_is_unlisted,
    test_sizes_and_boxes_are_those_of_the_displayed_photograph,
    test_the_files_say_in_exif_what_is_listed,
    test_two_sites_have_their_own_size_and_camera,
)

from toolkit.synthetic import sample


@pytest.fixture(scope="session")
def drawn_sample(tmp_path_factory):
    return sample(tmp_path_factory.mktemp("drawn") / "sample", cases=980, seed=7)
