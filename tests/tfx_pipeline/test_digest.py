"""Digests follow contents, not paths."""

import os

import pytest

from tfx_pipeline import digest


@pytest.fixture
def packages(tmp_path):
    """A tree with one file in each of the project's packages."""
    for package in digest.PACKAGES:
        (tmp_path / package / "deep").mkdir(parents=True)
        (tmp_path / package / "deep" / "code.py").write_text(f"# {package}\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("package", digest.PACKAGES)
def test_an_edited_added_or_renamed_source_file_changes_the_source_digest(packages, package):
    seen = [digest.of_source(packages)]
    file = packages / package / "deep" / "code.py"
    file.write_text("x = 1\n", encoding="utf-8")
    seen.append(digest.of_source(packages))
    (packages / package / "more.py").write_text("", encoding="utf-8")
    seen.append(digest.of_source(packages))
    file.rename(file.with_name("renamed.py"))
    seen.append(digest.of_source(packages))
    assert len(set(seen)) == len(seen)


def test_other_files_and_the_place_do_not_count(packages, tmp_path_factory):
    before = digest.of_source(packages)
    (packages / "hrlrec_tf" / "notes.txt").write_text("x", encoding="utf-8")
    moved = tmp_path_factory.mktemp("moved") / "tree"
    packages.rename(moved)
    assert digest.of_source(moved) == before


def test_the_installed_packages_are_found():
    assert digest.of_source() != digest.of_text()


def test_a_file_digest_follows_the_content(tmp_path):
    file = tmp_path / "schema.pbtxt"
    file.write_text("one", encoding="utf-8")
    before = digest.of_file(str(file))
    file.write_text("two", encoding="utf-8")
    assert digest.of_file(str(file)) != before
    file.write_text("one", encoding="utf-8")
    assert digest.of_file(str(file)) == before


def test_a_log_fingerprint_notices_growth_change_addition_and_another_folder(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    seen = [digest.of_log(str(log))]
    (log / "one.csv").write_text("a", encoding="utf-8")
    seen.append(digest.of_log(str(log)))
    (log / "one.csv").write_text("ab", encoding="utf-8")
    seen.append(digest.of_log(str(log)))
    os.utime(log / "one.csv", ns=(1, 1))
    seen.append(digest.of_log(str(log)))
    seen.append(digest.of_log(str(log), str(tmp_path / "joined.csv")))
    assert len(set(seen)) == len(seen)
    assert digest.of_log(str(log)) == seen[3]
    assert digest.of_log("gs://bucket/one") != digest.of_log("gs://bucket/two")


def test_texts_are_kept_apart():
    assert digest.of_text("ab", "c") != digest.of_text("a", "bc")
