"""The installed service under a real systemd: what an operator sees, rotates, breaks and restarts."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.support.box import AUDIT, DROP, ETC, UNIT, Box, Service
from tests.support.daemon import wait_until
from tests.support.pictures import encoded, jpeg, photograph
from tests.support.standin import Fault, StandinProcess

pytestmark = pytest.mark.timeout(900)  # the first test waits for the machine to be built
CAP_LEASE = 1 << 28
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="5" height="5"/></svg>'


def stored_files(service: Service) -> list[str]:
    """The files of the image.stored lines in journald."""
    return [line["file"] for line in service.lines("image.stored")]


def as_the_service(box: Box, *command: str, check: bool = True) -> str:
    """Run a command as the service's user."""
    return box.sh("setpriv", f"--reuid={UNIT}", f"--regid={UNIT}", "--clear-groups", *command, check=check).stdout


def is_on_one_processor(service: Service) -> bool:
    """Whether its main thread may run on one processor only."""
    return service.process_status()["Cpus_allowed_list"].isdigit()


# --- the unit ---------------------------------------------------------------------------------------------------------------


def test_verify_is_silent(box: Box) -> None:
    """systemd-analyze finds nothing to say about the unit and the template; it says unknown keys without failing."""
    box.sh("cp", f"/opt/{UNIT}/share/{UNIT}@.service", f"/etc/systemd/system/{UNIT}@.service")
    for unit in (f"{UNIT}.service", f"{UNIT}@north.service"):
        done = box.sh("systemd-analyze", "verify", f"/etc/systemd/system/{unit.replace('north', '')}", check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_hardly_exposed(box: Box) -> None:
    """systemd-analyze rates the exposure 1.5 or better (tenths here)."""
    done = box.sh("systemd-analyze", "security", "--no-pager", "--threshold=15", f"{UNIT}.service", check=False)
    assert done.returncode == 0, done.stdout


# --- the main job -----------------------------------------------------------------------------------------------------------


def test_a_dropped_image_is_a_line_in_the_journal(service: Service, standin: StandinProcess) -> None:
    """Start waits for READY; the stored line is one entry of journald, and the status line counts it. The process has one
    capability and nobody else's rights."""
    service.configure(standin.url)
    service.start()
    assert service.lines("service.ready")

    service.box.write(f"{DROP}/chair.jpg", jpeg())
    service.wait_for("image.stored")

    records = [record for record in service.records() if '"image.stored"' in str(record.get("MESSAGE"))]
    assert [record["_SYSTEMD_UNIT"] for record in records] == [f"{UNIT}.service"]
    line = json.loads(records[0]["MESSAGE"])
    assert line["url"] == "https://my-bucket.s3.eu-central-003.backblazeb2.com/products/chair.jpg"
    assert line["file"] == f"{DROP}/chair.jpg"
    wait_until(lambda: service.show("StatusText") == "0 waiting, 0 in flight, 1 stored, 0 failed", pause=0.2)
    rights = service.process_status()
    assert {int(rights[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {CAP_LEASE}
    assert rights["NoNewPrivs"] == "1"
    assert rights["Seccomp"] == "2"
    assert "0" not in rights["Uid"].split()
    wait_until(lambda: is_on_one_processor(service), pause=0.2)  # the unit lets it choose


def test_the_engine_works_behind_the_same_walls(service: Service) -> None:
    """Every format goes through libvips in worker processes with no memory both writable and executable, and the few calls."""
    service.configure(
        "embedded",
        store={"id": "local", "bucket": "my-bucket", "region": "eu-central-003"},
        engine={"connectors": {"local": {"kind": "directory", "path": f"{service.state}/bucket"}}},
        folders=[{"path": DROP, "image": {"compression": "high", "resize": {"width": 100, "height": 100}}}],
    )
    service.start()
    picture = photograph(240, 160)
    formats = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "gif": "GIF", "tif": "TIFF", "bmp": "BMP"}
    for ending, name in formats.items():
        service.box.write(f"{DROP}/chair.{ending}", encoded(picture, name))
    service.box.write(f"{DROP}/drawing.svg", DRAWING)

    service.wait_for("image.stored", len(formats) + 1)

    assert service.lines("image.failed") == []
    objects = os.listdir(service.box.path(f"{service.state}/bucket/my-bucket/products"))
    assert sorted(objects) == sorted([*(f"chair.{ending}" for ending in formats), "drawing.png"])


# --- reload -----------------------------------------------------------------------------------------------------------------


def test_a_reload_takes_the_rotated_key(service: Service, standin: StandinProcess) -> None:
    """The key is changed at the API and in the credentials; images wait meanwhile, and none is lost. Same process all along."""
    service.configure(standin.url)
    service.start()
    pid = service.show("MainPID")
    standin.set_options(api_key="the-new-key")
    service.box.write(f"{DROP}/chair.jpg", jpeg())
    service.wait_for("api.unauthorized")

    service.set_key("the-new-key")
    service.box.ctl("reload", UNIT)

    service.wait_for("image.stored")
    assert service.lines("config.reloaded")[0]["changed"] == ["compressor"]
    assert service.show("MainPID") == pid
    assert "the-new-key" not in json.dumps(service.records())


def test_a_reload_changes_folders_rules_and_level(service: Service, standin: StandinProcess) -> None:
    """A folder added is watched, one removed is not, a rule changed holds for what comes; an image on its way, with its temporary
    URL in use, ends as if nothing had happened."""
    kept = {"path": DROP}
    service.configure(standin.url, folders=[kept, {"path": "/srv/drop/old"}])
    service.box.path("/srv/drop/old").mkdir()
    service.box.path("/srv/drop/new").mkdir()
    service.start()
    standin.set_faults(Fault("delay", seconds=2, file="slow.jpg"))
    service.box.write("/srv/drop/old/slow.jpg", jpeg())
    wait_until(lambda: "slow.jpg" in standin.report()["asked"])

    renamed = {**kept, "store": {"path": "catalogue/{name}"}}
    service.configure(standin.url, folders=[renamed, {"path": "/srv/drop/new"}], log={"audit": AUDIT, "level": "debug"})
    service.box.ctl("reload", UNIT)
    service.wait_for("config.reloaded")
    service.box.write("/srv/drop/old/too-late.jpg", jpeg(60, 40))
    service.box.write("/srv/drop/new/lamp.jpg", jpeg(70, 50))
    service.box.write(f"{DROP}/chair.jpg", jpeg(80, 60))

    service.wait_for("image.stored", 3)
    keys = {line["key"] for line in service.lines("image.stored")}
    assert keys == {"old/slow.jpg", "new/lamp.jpg", "catalogue/chair.jpg"}
    assert service.lines("image.requested", key="catalogue/chair.jpg")
    assert service.lines("image.stored", key="old/slow.jpg")[0]["attempts"] == 1


def test_a_bad_file_leaves_the_old_configuration_in_force(service: Service, standin: StandinProcess) -> None:
    """Every problem is listed in one line, and work goes on under the old rules."""
    service.configure(standin.url)
    service.start()

    service.configure(standin.url, folders=[{"path": "relative"}], settel="2s")
    service.box.ctl("reload", UNIT)
    problems = service.wait_for("config.rejected")[0]["problems"]
    service.box.write(f"{DROP}/chair.jpg", jpeg())

    service.wait_for("image.stored")
    assert sorted(problems) == ["folders[0].path: must be an absolute path", "settel: no such setting; did you mean `settle`?"]
    assert service.show("ActiveState") == "active"


# --- secrets ----------------------------------------------------------------------------------------------------------------


def test_nobody_else_reads_the_credentials(service: Service, standin: StandinProcess) -> None:
    """Not the operator's files, not systemd's copy, not the copy of a reload; the service itself cannot reach the first."""
    service.configure(standin.url)
    service.start()
    service.box.ctl("reload", UNIT)
    service.wait_for("config.reloaded")
    places = [
        f"{ETC}/credentials/compressor_api_key",
        f"/run/credentials/{UNIT}.service/secrets_compressor_api_key",
        f"/run/{UNIT}/credentials/compressor_api_key",
    ]

    for place in places:
        assert service.box.sh("cat", place).stdout == service.box.sh("cat", places[0]).stdout
        done = service.box.sh("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", place, check=False)
        assert (done.returncode, done.stdout) == (1, "")
    assert as_the_service(service.box, "cat", places[0], check=False) == ""


def test_a_planted_link_leads_a_reload_nowhere(service: Service, standin: StandinProcess) -> None:
    """The service's user can plant links where the copies go; root's part of the reload does not follow them."""
    box = service.box
    service.configure(standin.url)
    service.start()
    box.sh("sh", "-c", "mkdir -m 755 -p /srv/victim && echo theirs > /srv/victim/compressor_api_key")
    for link in ("credentials", "credentials.new"):
        as_the_service(box, "ln", "-s", "/srv/victim", f"/run/{UNIT}/{link}")

    box.ctl("reload", UNIT)
    service.wait_for("config.reloaded")

    assert box.path("/srv/victim/compressor_api_key").read_text() == "theirs\n"
    assert os.listdir(box.path("/srv/victim")) == ["compressor_api_key"]
    assert box.sh("stat", "-c", "%F %U %a", f"/run/{UNIT}/credentials").stdout == f"directory {UNIT} 700\n"


# --- folders ----------------------------------------------------------------------------------------------------------------


def test_folders_outside_the_drop_in_are_refused_by_name(service: Service, standin: StandinProcess) -> None:
    """A folder in a home, one without the right to it, and one whose files are to be deleted but which is read-only for the
    service: each is lost with the reason, and the hint names the drop-in. Opened there, they work."""
    box = service.box
    box.sh("sh", "-c", "mkdir -p /home/ana/inbox /srv/drop/press; chmod 755 /home/ana; mkdir -m 700 /srv/drop/private")
    folders: list[dict[str, Any]] = [
        {"path": "/home/ana/inbox"},
        {"path": "/srv/drop/private"},
        {"path": "/srv/drop/press", "on_success": "delete"},
    ]
    service.configure(standin.url, folders=folders)
    service.start()

    lost = {line["folder"]: line for line in service.wait_for("folder.lost", 3)}

    assert {name: line["message"].partition(": ")[2][:23] for name, line in lost.items()} == {
        "inbox": "No such file or directo",
        "private": "Permission denied",
        "press": "read-only here, and on_",
    }
    for line in lost.values():
        assert f"systemctl edit {UNIT}.service" in line["hint"]
        assert "SupplementaryGroups=" in line["hint"]

    box.sh("sh", "-c", f"chown {UNIT} /srv/drop/press; chgrp nogroup /srv/drop/private; chmod 750 /srv/drop/private")
    service.drop_in("BindReadOnlyPaths=/home/ana/inbox", "ReadWritePaths=/srv/drop/press", "SupplementaryGroups=nogroup")
    box.ctl("restart", UNIT)
    for folder, size in (("/home/ana/inbox", 60), ("/srv/drop/private", 70), ("/srv/drop/press", 80)):
        box.write(f"{folder}/chair.jpg", jpeg(size, 50))

    service.wait_for("image.stored", 3)
    service.wait_for("image.deleted", file="/srv/drop/press/chair.jpg")
    assert box.path("/home/ana/inbox/chair.jpg").exists()
    assert not box.path("/srv/drop/press/chair.jpg").exists()


# --- ends and beginnings ----------------------------------------------------------------------------------------------------


def test_a_stuck_service_is_restarted_and_loses_nothing(service: Service, standin: StandinProcess) -> None:
    """Without signs of life systemd ends it, writes down where it was stuck and starts it again; what was dropped meanwhile is
    taken."""
    service.configure(standin.url)
    service.drop_in("WatchdogSec=2")
    service.start()
    os.kill(_outer_pid(service), signal.SIGSTOP)
    service.box.write(f"{DROP}/chair.jpg", jpeg())

    wait_until(lambda: service.show("NRestarts") == "1" and service.show("ActiveState") == "active", pause=0.2)

    service.wait_for("image.stored", file=f"{DROP}/chair.jpg")
    told = " ".join(str(record.get("MESSAGE")) for record in service.records())
    assert "Watchdog timeout (limit 2s)!" in told
    assert "Fatal Python error: Aborted" in told


def test_killed_in_the_middle_it_recovers_without_loss_or_double(service: Service, standin: StandinProcess) -> None:
    """SIGKILL while requests are with the API, which carries them out: after the restart every image has one ending, and none was
    paid twice."""
    service.configure(standin.url, verify={"url": standin.verify_url})
    service.start()
    standin.set_faults(Fault("delay_after", seconds=3))
    names = [f"{number}.jpg" for number in range(12)]
    for number, name in enumerate(names):
        service.box.write(f"{DROP}/{name}", jpeg(64 + number, 48))
    wait_until(lambda: len(standin.report()["paid"]) >= 6)

    service.box.ctl("kill", "-s", "KILL", UNIT)
    standin.set_faults()
    wait_until(lambda: len(service.audit_lines()) == len(names))

    assert service.show("NRestarts") == "1"
    assert standin.report()["paid"] == dict.fromkeys(names, 1)
    assert {(line["event"], line["file"]) for line in service.audit_lines()} == {
        ("image.stored", f"{DROP}/{name}") for name in names
    }
    assert any(line["recovered"] for line in service.audit_lines())
    assert service.box.sh("compressor-watcher", "audit", "verify").returncode == 0


def test_a_refused_configuration_is_not_tried_again(service: Service) -> None:
    """Exit status 78 ends it for good, with every problem in the journal."""
    service.configure("http://127.0.0.1:1/1.0", folders=[])

    done = service.box.ctl("start", UNIT, check=False)

    assert done.returncode != 0
    assert (service.show("ExecMainStatus"), service.show("Result"), service.show("NRestarts")) == ("78", "exit-code", "0")
    assert service.show("SubState") == "failed"  # one that is to be tried again is in "auto-restart"
    assert any("folders: is missing" in str(record.get("MESSAGE")) for record in service.records())


def test_a_long_drain_is_not_cut_short(service: Service, standin: StandinProcess) -> None:
    """The daemon announces its `drain`: requests under way end and are recorded though TimeoutStopSec= and WatchdogSec= are
    shorter."""
    service.configure(standin.url, drain="30s")
    service.drop_in("TimeoutStopSec=1", "WatchdogSec=1")
    service.start()
    standin.set_faults(Fault("delay", seconds=3))
    service.box.write(f"{DROP}/chair.jpg", jpeg())
    wait_until(lambda: standin.report()["asked"])

    service.box.ctl("stop", UNIT)

    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    assert [line["file"] for line in service.audit_lines()] == [f"{DROP}/chair.jpg"]
    assert service.lines("service.stopped")


def test_a_second_signal_ends_it_at_once(service: Service, standin: StandinProcess) -> None:
    """Who cannot wait for the drain asks twice; the image is taken up again at the next start."""
    service.configure(standin.url, drain="60s", verify={"url": standin.verify_url})
    service.start()
    standin.set_faults(Fault("never", times=1))
    service.box.write(f"{DROP}/chair.jpg", jpeg())
    wait_until(lambda: standin.report()["asked"])

    service.box.ctl("kill", "-s", "TERM", UNIT)
    service.wait_for("service.stopping")
    service.box.ctl("kill", "-s", "TERM", UNIT)
    wait_until(lambda: service.show("ActiveState") == "inactive", 10, pause=0.2)

    assert service.lines("service.stopped") == []
    service.start()
    service.wait_for("image.stored")
    assert standin.report()["paid"] == {"chair.jpg": 1}


# --- beside it --------------------------------------------------------------------------------------------------------------


def test_rotation_while_images_flow_keeps_the_chain(service: Service, standin: StandinProcess) -> None:
    """logrotate renames and compresses the audit file again and again; no line is missing or doubled, and the chain of hashes
    holds over all files."""
    service.configure(standin.url)
    service.start()
    for number in range(60):
        service.box.write(f"{DROP}/{number}.jpg", jpeg(64 + number, 48))
        if number % 15 == 14:
            wait_until(lambda: service.box.path(AUDIT).exists() and service.box.path(AUDIT).stat().st_size > 0)
            service.box.sh("logrotate", "--force", f"/etc/logrotate.d/{UNIT}")

    wait_until(lambda: len(service.audit_lines()) == 60)

    files = {file.name: file.stat() for file in service.box.path(service.log).iterdir()}
    assert {"audit.jsonl.1", "audit.jsonl.2.gz", "audit.jsonl.3.gz"} <= files.keys()
    assert {stat.st_uid for stat in files.values()} == {int(service.box.sh("id", "-u", UNIT).stdout)}
    assert [line["seq"] for line in service.audit_lines()] == list(range(1, 61))
    assert as_the_service(service.box, "compressor-watcher", "audit", "verify")


def test_instances_do_not_meet(service: Service, standin: StandinProcess) -> None:
    """Two services of the template and the plain one work side by side, each with its own folder, state, key and log; one on
    another's state is refused."""
    box = service.box
    box.sh("cp", f"/opt/{UNIT}/share/{UNIT}@.service", f"/etc/systemd/system/{UNIT}@.service")
    box.ctl("daemon-reload")
    north, south = Service(box, "north"), Service(box, "south")
    services = {"products": service, "north": north, "south": south}
    for name, each in services.items():
        box.path(f"/srv/drop/{name}").mkdir(exist_ok=True)
        each.configure(standin.url, folders=[{"path": f"/srv/drop/{name}"}])
    for name, each in services.items():
        each.start()
        box.write(f"/srv/drop/{name}/chair.jpg", jpeg(64 + len(name), 48))

    for name, each in services.items():
        assert [line["file"] for line in each.wait_for("image.stored")] == [f"/srv/drop/{name}/chair.jpg"]
        assert [line["folder"] for line in each.audit_lines()] == [name]
    south.configure(standin.url, state_dir=north.state)
    box.ctl("stop", south.unit)
    assert box.ctl("start", south.unit, check=False).returncode != 0
    assert south.show("ExecMainStatus") == "69"
    for each in (north, south):
        each.clean()


def _outer_pid(service: Service) -> int:
    """The daemon's process, as this side of the box numbers it."""
    inner = service.show("MainPID")
    for process in os.listdir("/proc"):
        if process.isdigit():
            try:
                with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as status:
                    numbers = next((line.split()[1:] for line in status if line.startswith("NSpid:")), [])
                same_box = os.readlink(f"/proc/{process}/ns/pid") == os.readlink(f"/proc/{service.box.pid}/ns/pid")
            except OSError:
                continue  # it ended meanwhile
            if same_box and numbers[-1:] == [inner]:
                return int(process)
    pytest.fail("the daemon is not there")
