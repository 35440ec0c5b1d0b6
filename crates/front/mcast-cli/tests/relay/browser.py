"""Opens a page in Chromium, and evaluates an expression there until it is true: browser.py CHROMIUM PROFILE URL EXPRESSION
[FOLDER]. Prints the text of the page at the end. With FOLDER, does so at each width, on a light and on a dark screen, and puts a picture
of each there. Chromium is controlled by pipes, without a port."""

import base64
import json
import os
import subprocess
import sys
import time

TIME = 20
WIDTHS = (360, 800, 1600)


def main(program, profile, url, expression, folder=None):
    (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
    # Chromium reads commands from descriptor 3, and writes responses to 4.
    shell = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--window-size=1000,900",
               "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={profile}", "about:blank"]
    browser = subprocess.Popen(["bash", "-c", shell, program, *options], pass_fds=(to_read, from_write),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(to_read), os.close(from_write)
    responses, count = os.fdopen(from_read, "rb", buffering=0), 0
    rest = b""

    def call(method, session=None, **parameters):
        nonlocal count, rest
        count += 1
        message = {"id": count, "method": method, "params": parameters}
        os.write(to_write, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            while b"\0" not in rest:
                rest += responses.read(1 << 16) or sys.exit("Chromium has ended")
            one, rest = rest.split(b"\0", 1)
            response = json.loads(one)
            if response.get("id") == count:
                return response["result"] if "result" in response else sys.exit(f"{method}: {response}")

    try:
        target = call("Target.createTarget", url=url)["targetId"]
        session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

        def becomes_true():
            end = time.monotonic() + TIME
            while time.monotonic() < end:
                result = call("Runtime.evaluate", session, expression=f"Boolean({expression})")["result"]
                if result.get("value") is True:
                    return True
                time.sleep(0.1)
            return False

        is_true = folder is not None or becomes_true()
        for width in WIDTHS if folder else ():
            for scheme in ("light", "dark"):
                call("Emulation.setDeviceMetricsOverride", session, width=width, height=700, deviceScaleFactor=1,
                     mobile=False)
                scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
                call("Emulation.setEmulatedMedia", session, features=[scheme_feature])
                if not becomes_true():
                    print(f"at {width} pixels, {scheme}:", file=sys.stderr)
                    is_true = False
                shot = call("Page.captureScreenshot", session)
                with open(os.path.join(folder, f"{width}-{scheme}.png"), "wb") as file:
                    file.write(base64.b64decode(shot["data"]))
        text = call("Runtime.evaluate", session, expression="document.body.innerText")["result"].get("value")
        print(text)
        sys.exit(0 if is_true else "it did not become true")
    finally:
        browser.kill()
        browser.wait()


main(*sys.argv[1:])
