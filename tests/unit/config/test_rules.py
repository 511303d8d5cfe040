"""From a path to the reason why it is not taken, or to its rule."""

from pathlib import Path
from typing import Any

import pytest

from watcher.config.loading import load_settings
from watcher.config.rules import TEMPORARY_DIRECTORIES, TEMPORARY_NAMES, FolderRules, Globs, folder_rules
from watcher.model import IgnoredReason, Rule

STORE = {"id": "connector", "bucket": "bucket", "region": "eu-central-003"}


def rules(*folders: dict[str, Any], **settings: Any) -> dict[str, FolderRules]:
    tables = [
        {"name": f"folder{number or ''}", "path": f"/srv/drop{number or ''}", **each} for number, each in enumerate(folders)
    ]
    data = {"state_dir": "/var/lib/x", "compressor": {"url": "embedded"}, "store": STORE, "folders": tables, **settings}
    return folder_rules(load_settings(data, {}))


def one(**folder: Any) -> FolderRules:
    return rules(folder)["folder"]


TAKEN = [
    "a.jpg",
    "A.JPG",
    "no extension",
    "notes.txt",
    "deep/er/a.jpg",
    "partly.jpg",
    "a.part.jpg",
    "download/a.jpg",
    "tmp/a.jpg",
    "a b\tc.jpg",
    "new\nline.jpg",
    "dir\n/a.jpg",
    "caf\udce9.jpg",
    "Фото/写真.jpg",
    "[a]*?.jpg",
    "!a.jpg",
    "# a.jpg",
]


@pytest.mark.parametrize("relative", TAKEN)
def test_everything_with_a_final_name_is_for_us(relative: str) -> None:
    """By default every name is taken, in every directory and in any bytes; the content is judged later."""
    assert one().ignores(relative) is None


LEFT = {
    ".hidden.jpg": IgnoredReason.HIDDEN,
    "._a.jpg": IgnoredReason.HIDDEN,
    ".DS_Store": IgnoredReason.HIDDEN,
    ".a.jpg.XXk29s": IgnoredReason.HIDDEN,
    ".git/a.jpg": IgnoredReason.HIDDEN,
    "deep/.stversions/er/a.jpg": IgnoredReason.HIDDEN,
    "a.jpg.part": IgnoredReason.TEMPORARY_NAME,
    "a.jpg.PART": IgnoredReason.TEMPORARY_NAME,
    "Unconfirmed 1.crdownload": IgnoredReason.TEMPORARY_NAME,
    "a.jpg.filepart": IgnoredReason.TEMPORARY_NAME,
    **dict.fromkeys(
        (
            *("a.jpg_original", "a.jpg_exiftool_tmp", "a.jpg.3f2a.ffs_tmp", "~$a.jpg", "a.jpg.AbC123", "a.jpg.lftp-pget-status"),
            *("a.jpg.ocTransferId1234.part", "a.jpg.aria2", "a.jpg.st", "a.jpg.download/a.jpg", "Thumbs.db", "4913", "a.jpg.swp"),
            *("~syncthing~a.jpg.tmp", "a.jpg.sb-8c3f2d1e-Ab3dEf", "a.jpg.tmp.12345", "a.jpg.tmp7", "a.jpg.gstmp", "a.jpg.!qB"),
            *("a.jpg.9b2c.part.minio", "EditorWindow-x.digikamtempfile.jpg", "1596.exiv2_temp", "RECYCLER/a.jpg", "a.jpg.az!"),
            *("@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "a.jpg.opdownload", "a.jpg.abcdef12.partial", "a.jpg.bak", "a.jpg.orig"),
        ),
        IgnoredReason.TEMPORARY_NAME,
    ),
    **dict.fromkeys(
        (
            *(".a.jpg.AbC123", ".goutputstream-AB12CD", ".syncthing.a.jpg.tmp", ".dropbox.cache/a.jpg", ".AppleDouble/a.jpg"),
            *(".SynologyWorkingDirectory/a.jpg", ".a.jpg.swp", ".pureftpd-upload.5f.15.2.1a", ".nfs0000001", ".~lock.a.jpg#"),
        ),
        IgnoredReason.HIDDEN,
    ),
    "a.jpg~": IgnoredReason.TEMPORARY_NAME,
    "~$a.docx": IgnoredReason.TEMPORARY_NAME,
    "~syncthing~a.jpg.tmp": IgnoredReason.TEMPORARY_NAME,
    "#a.jpg#": IgnoredReason.TEMPORARY_NAME,
    "THUMBS.DB": IgnoredReason.TEMPORARY_NAME,
    "deep/Thumbs.db": IgnoredReason.TEMPORARY_NAME,
    "Icon\r": IgnoredReason.TEMPORARY_NAME,
    "deep/@eaDir/a.jpg": IgnoredReason.TEMPORARY_NAME,
    "#Recycle/a.jpg": IgnoredReason.TEMPORARY_NAME,
    "$RECYCLE.BIN/a.jpg": IgnoredReason.TEMPORARY_NAME,
    "a.jpg.download/a.jpg": IgnoredReason.TEMPORARY_NAME,
    "a.jpg_original": IgnoredReason.TEMPORARY_NAME,
    "a.jpg_exiftool_tmp": IgnoredReason.TEMPORARY_NAME,
    "a.jpg.3f2a.ffs_tmp": IgnoredReason.TEMPORARY_NAME,
    "a.jpg.sb-8c3f2d1e-Ab3dEf": IgnoredReason.TEMPORARY_NAME,
    "a.jpg.kQzWvB": IgnoredReason.TEMPORARY_NAME,
    "A.JPG.kqzwvb": IgnoredReason.TEMPORARY_NAME,
    "a.png.6eF3aC01": IgnoredReason.TEMPORARY_NAME,
    "a.jpg.bak": IgnoredReason.TEMPORARY_NAME,
    "a.jpg.orig": IgnoredReason.TEMPORARY_NAME,
    "a.jpg._gstmp": IgnoredReason.TEMPORARY_NAME,
}


@pytest.mark.parametrize("relative", LEFT)
def test_names_that_are_not_final_are_left(relative: str) -> None:
    """Temporary names, hidden ones and what machines put beside files, in whatever case."""
    assert one().ignores(relative) is LEFT[relative]


@pytest.mark.parametrize(
    "relative",
    [
        *("photos_original/a.jpg", "photos.bak/a.jpg", "v1.2_original/a.jpg", "sketch_original.jpg", "a.jpg.kQzWvB.png"),
        *(
            "photo.original.jpg",
            "photo.part.jpg",
            "tmp.jpg",
            "a.tmp.jpg",
            "backup.jpg",
            "2024.backup.jpg",
            "photo~1.jpg",
            "DSC~2.JPG",
        ),
        *("photo.jpg.1", "photo.123456.jpg", "4913.jpg", "cover.old.jpg", "product#1.jpg", "#1.jpg", "@home.jpg", "$5.jpg"),
        *("aria2.jpg", "thumbs.jpg", "icon.png", "download.jpg", "a.jpg.png", "st.jpg", "12345678.jpg", "DALL·E.png"),
    ],
)
def test_names_that_only_look_so_are_taken(relative: str) -> None:
    """A directory may be called like a backup, and a final name may hold a temporary one."""
    assert one().ignores(relative) is None


def test_globs_are_compared_without_regard_to_case() -> None:
    """Cameras write IMG_0001.JPG, and people write `*.jpg`."""
    folder = rules({"include": ["**/*.jpg"], "exclude": ["drafts/**"]})["folder"]

    assert folder.ignores("DCIM/IMG_0001.JPG") is None
    assert folder.ignores("a.png") is IgnoredReason.NOT_INCLUDED
    assert folder.ignores("Drafts/a.jpg") is IgnoredReason.EXCLUDED


def test_the_lists_leave_each_of_their_own_names() -> None:
    """No entry of the lists is dead: an example of every glob, and every directory, is left."""
    folder = one()

    examples = [name.replace("*", "x").replace("ehthumbsx", "ehthumbs_vista") for name in TEMPORARY_NAMES]
    assert [name for name in examples if folder.ignores(name) is not IgnoredReason.TEMPORARY_NAME] == []
    assert [name for name in TEMPORARY_DIRECTORIES if folder.ignores_directory(name) is not IgnoredReason.TEMPORARY_NAME] == []


def test_the_configuration_adds_to_the_list() -> None:
    """`ignore` is for names, in all folders."""
    folder = rules({}, ignore=["*.sync-conflict-*", "proof-*"])["folder"]

    assert folder.ignores("deep/Proof-1.jpg") is IgnoredReason.TEMPORARY_NAME
    assert folder.ignores("a.sync-conflict-2026.jpg") is IgnoredReason.TEMPORARY_NAME
    assert folder.ignores("a.jpg.part") is IgnoredReason.TEMPORARY_NAME
    assert folder.ignores("a.jpg") is None


@pytest.mark.parametrize(
    ("include", "taken", "left"),
    [
        (["*.jpg"], ["a.jpg"], ["deep/a.jpg", "a.png", "a.jpg\n"]),
        (["**/*.jpg"], ["a.jpg", "deep/er/a.jpg", "new\nline/a.jpg"], ["a.png"]),
        (["photos/**"], ["photos/a.jpg", "photos/deep/a.jpg"], ["a.jpg", "more/photos/a.jpg"]),
        (["*.jp?g", "*.[pP][nN][gG]"], ["a.jpeg", "a.PNG"], ["a.jpg"]),
        (["!odd*.jpg"], ["!odd one.jpg"], ["odd one.jpg"]),
    ],
)
def test_globs_say_what_is_included(include: list[str], taken: list[str], left: list[str]) -> None:
    """A glob without `**` is for the top of the folder, as in a shell."""
    folder = one(include=include)

    assert [folder.ignores(name) for name in taken] == [None] * len(taken)
    assert [folder.ignores(name) for name in left] == [IgnoredReason.NOT_INCLUDED] * len(left)


def test_exclude_wins_over_include() -> None:
    """What matches both is left."""
    folder = one(include=["**/*.jpg"], exclude=["drafts/**", "**/*-raw.jpg"])

    assert folder.ignores("drafts/a.jpg") is IgnoredReason.EXCLUDED
    assert folder.ignores("deep/a-raw.jpg") is IgnoredReason.EXCLUDED
    assert folder.ignores("deep/a.jpg") is None


def test_a_flat_folder_has_no_subfolders() -> None:
    """`recursive = false`."""
    folder = one(recursive=False)

    assert folder.ignores("deep/a.jpg") is IgnoredReason.SUBFOLDER
    assert folder.ignores_directory("deep") is IgnoredReason.SUBFOLDER
    assert folder.ignores("a.jpg") is None


def test_a_move_target_inside_a_watched_folder_is_never_watched() -> None:
    """Neither the folder's own nor another folder's."""
    found = rules(
        {"on_success": {"move": "/srv/drop/done"}, "on_failure": {"move": "/srv/drop1/bad/ones"}},
        {"path": "/srv/drop1"},
    )

    assert found["folder"].ignores("done/deep/a.jpg") is IgnoredReason.MOVE_TARGET
    assert found["folder1"].ignores("bad/ones/a.jpg") is IgnoredReason.MOVE_TARGET
    assert found["folder1"].ignores("bad/a.jpg") is None
    assert found["folder1"].ignores("done/a.jpg") is None


def test_a_rule_is_a_snapshot_that_survives_json() -> None:
    """What an image was detected under is kept with it: outputs merged key by key, actions as words."""
    folder = one(
        image={"compression": "high", "resize": {"width": 100, "height": 100}},
        store={"path": "{folder}/{name}", "headers": {"Cache-Control": "no-store"}},
        link="https://cdn.example.com/{key}",
        on_success={"move": "/srv/done"},
        renditions=[{"name": "thumb", "image": {"resize": {"width": 10}}, "store": {"path": "{folder}/thumb/{name}"}}],
    )

    own, thumb = folder.rule.outputs
    assert own.rendition is None
    assert own.store["path"] == "{folder}/{name}"
    assert thumb.rendition == "thumb"
    assert thumb.image == {"compression": "high", "resize": {"width": 10, "height": 100}}
    assert thumb.store == {**own.store, "path": "{folder}/thumb/{name}"}
    assert thumb.link == "https://cdn.example.com/{key}"
    assert (folder.rule.on_success, folder.rule.on_failure) == ("move:/srv/done", "keep")
    assert Rule.from_json(folder.rule.to_json()) == folder.rule


def test_without_a_path_the_key_keeps_the_tree() -> None:
    """The default template."""
    assert one().rule.outputs[0].store["path"] == "{folder}/{dir}/{name}"
    assert one().rule.root == Path("/srv/drop")


def test_rules_read_twice_are_equal() -> None:
    """A reload that changes nothing is seen to change nothing."""
    assert one(include=["*.jpg"]) == one(include=["*.jpg"])
    assert one(include=["*.jpg"]) != one(include=["*.png"])
    assert len({Globs(["*.jpg"]), Globs(["*.jpg"]), Globs(["*.jpg"], ignore_case=True)}) == 2
