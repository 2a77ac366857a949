package edge_test

import (
	"slices"
	"strings"
	"testing"
)

// each visits the page in every dress that it has.
func each(t *testing.T, test func(t *testing.T, dress string, with settings)) {
	for dress, with := range map[string]settings{
		"light": {"colorScheme": "light"},
		"dark":  {"colorScheme": "dark"},
		"phone": {"colorScheme": "dark", "viewport": map[string]int{"width": 360, "height": 800}},
		"still": {"colorScheme": "light", "reducedMotion": "reduce"},
	} {
		t.Run(dress, func(t *testing.T) { test(t, dress, with) })
	}
}

// Every state of the form can be seen and heard by everybody, as far as a
// machine can tell: in light, dark, on a telephone, without motion.
func TestStates(t *testing.T) {
	b := openBrowser(t)
	on := platform{"deno", startDeno}
	each(t, func(t *testing.T, dress string, with settings) {
		s := rise(t, on, household{}, "PROOF_BITS", "12")
		tab := b.visit(t, s.page.origin, with)
		check := func(state string) {
			t.Helper()
			tab.accessible()
			if got := tab.evaluate(`document.documentElement.scrollWidth <= innerWidth`); got != "true" {
				t.Errorf("%s: the page is wider than the screen", state)
			}
			tab.picture(state + "-" + dress)
		}
		tab.state("idle")
		check("idle")
		tab.click("summary")
		check("key")
		tab.click("summary")

		tab.fill("#homing-address", "nobody")
		tab.send()
		if got := tab.evaluate(`document.activeElement.id`); got != "homing-address" {
			t.Errorf("the focus is on %q, want it on the first mistake", got)
		}
		if got := tab.evaluate(`document.activeElement.getAttribute("aria-invalid") + document.querySelector("#homing-address-error").textContent.length`); !strings.HasPrefix(got, "true") || got == "true0" {
			t.Errorf("the mistake is not explained: %q", got)
		}
		check("invalid")

		tab.write("Grüße! 🐦 Is the stall at the spring market still free?\n\nBest, Zoë")
		if got := tab.evaluate(`document.querySelectorAll("[aria-invalid=true]").length`); got != "0" {
			t.Errorf("%s mistakes are left after they were mended", got)
		}
		check("filled")
		tab.evaluate(`window.heard = []; new MutationObserver(() => heard.push(document.querySelector("[role=status]").textContent))
			.observe(document.querySelector("[role=status]"), { childList: true, characterData: true, subtree: true })`)
		s.wire.next(hold, 1)
		tab.send()
		tab.state("sending")
		check("sending")
		if got := tab.evaluate(`heard.join()`); got != "Encrypting…,Sending…" {
			t.Errorf("a screen reader hears %q", got)
		}
		if got := tab.evaluate(`getComputedStyle(document.querySelector("[data-submit] svg")).animationName`); (got == "none") != (dress == "still") {
			t.Errorf("the animation is %q", got)
		}
		if got := tab.evaluate(`document.querySelectorAll("fieldset :is(input, textarea):not(:read-only, :disabled)").length`); got != "0" {
			t.Errorf("%s fields can be changed while they are sent", got)
		}
		if got := tab.evaluate(`document.activeElement === document.querySelector("[data-submit]") && document.activeElement.ariaDisabled`); got != "true" {
			t.Error("the focus left the button that was pressed")
		}

		s.kill()
		tab = b.visit(t, s.page.origin, with)
		tab.write("Grüße! 🐦 Is the stall at the spring market still free?\n\nBest, Zoë")
		tab.send()
		tab.failure("mailbox cannot be reached")
		check("failed")

		s.serve(t)
		tab.send()
		tab.state("sent")
		if got := tab.evaluate(`"sent" in document.activeElement.dataset && document.activeElement.innerText`); !strings.Contains(got, "was sent") {
			t.Errorf("the focus is on %q", got)
		}
		if got := tab.evaluate(`document.querySelector("#homing-text").value`); got != "" {
			t.Error("the text is still in the page")
		}
		check("sent")
	})
}

// What a screen reader is given, and what a keyboard reaches, in order.
func TestKeyboard(t *testing.T) {
	b := openBrowser(t)
	s := rise(t, platform{"workerd", startWorkerd}, household{})
	tab := b.visit(t, s.page.origin, nil)
	tab.state("idle")

	if got := string(tab.do("outline", map[string]any{"selector": "form"})); got == "" {
		t.Error("no outline")
	} else {
		for _, want := range []string{`textbox \"Your name (optional)\"`, `textbox \"Your e-mail (for an answer)\"`, `textbox \"Message\"`, `button \"Encrypt and send\"`} {
			if !strings.Contains(got, want) {
				t.Errorf("the outline has no %s:\n%s", want, got)
			}
		}
	}
	loaded := func() []string {
		return slices.Concat(tab.requests("openpgp"), tab.requests("seal.js"), tab.requests("mime.js"))
	}
	tab.press("Tab")
	if got := loaded(); len(got) > 0 {
		t.Errorf("loaded before anything was written: %q", got)
	}
	tab.do("type", map[string]any{"text": "Zoe"})
	tab.press("Tab", "Tab")
	tab.do("type", map[string]any{"text": question})
	await(t, "the encryption to be loaded", func() error {
		if len(loaded()) < 3 {
			return errNotYet
		}
		return nil
	})
	tab.press("Tab", "Tab")
	if got := tab.evaluate(`document.activeElement.innerText`); got != "Encrypt and send" {
		t.Fatalf("behind the fields is %q", got)
	}
	tab.press("Enter")
	tab.state("sent")
	tab.press("Tab", "Enter")
	tab.state("idle")
	if got := tab.evaluate(`document.activeElement.id`); got != "homing-name" {
		t.Errorf("another message begins at %q", got)
	}
	if got := s.letters(t, 1)[0]; got.text != "Name: Zoe\r\n\r\n"+question {
		t.Errorf("arrived: %q", got.text)
	}
	if posts := tab.requests("POST"); len(posts) != 1 || posts[0] != "POST "+s.wire.url {
		t.Errorf("requests: %q", posts)
	}
}
