// The contact form: its states, and what a visitor hears and sees of them. All
// words are in the page. Encrypting is in seal.js, which is loaded when the
// visitor begins to write.

const patience = 120_000; // milliseconds for one request
const proofTries = 3; // an upload may take longer than a proof is good for
const mostBits = 24; // more work than that no visitor waits for

/** An attempt that failed; the code names the page's text. */
class Failure extends Error {
  /**
   * @param {string} code
   * @param {number} [wait] seconds
   */
  constructor(code, wait = 0) {
    super(code);
    this.code = code;
    this.wait = wait;
  }
}

/** The thread that encrypts. It takes one order at a time. */
class Sealer {
  #worker = new Worker(new URL("seal.js", import.meta.url), { type: "module" });

  /**
   * @param {"open" | "seal" | "proof"} order
   * @param {object} what
   * @returns {Promise<any>}
   */
  ask(order, what) {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => "failed" in data ? reject(new Failure(data.failed)) : resolve(data.done);
      this.#worker.onerror = () => reject(new Failure("load"));
      this.#worker.postMessage([order, what]);
    });
  }

  end() {
    this.#worker.terminate();
  }
}

class ContactForm {
  /** @type {Promise<Sealer> | undefined} ready when the key has been checked */
  #sealer;
  #began = false;
  /** @type {Uint8Array<ArrayBuffer> | undefined} what was encrypted, until the visitor changes it */
  #sealed;

  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    this.fields = /** @type {HTMLFieldSetElement} */ (this.part("fields"));
    this.button = /** @type {HTMLButtonElement} */ (this.part("submit"));
    form.noValidate = true; // the browser's own bubbles are gone before they are read
    form.addEventListener("submit", (event) => this.#submit(event));
    form.addEventListener("input", (event) => this.#changed(/** @type {Element} */ (event.target)));
    this.part("again").addEventListener("click", () => {
      this.#show("idle");
      this.#inputs()[0]?.focus();
    });
    this.part("fallback").hidden = true;
    this.fields.disabled = this.button.disabled = false;
    this.#show("idle");
  }

  /**
   * @param {string} name
   * @returns {HTMLElement}
   */
  part(name) {
    const part = this.form.querySelector(`[data-${name}]`);
    if (part === null) throw new Error(`the form has no element with data-${name}`);
    return /** @type {HTMLElement} */ (part);
  }

  /**
   * Returns a copy of one of the page's texts.
   * @param {string} code
   * @returns {HTMLElement | undefined}
   */
  #text(code) {
    const text = this.form.querySelector("template")?.content.querySelector(`[data-text="${CSS.escape(code)}"]`);
    return /** @type {HTMLElement | undefined} */ (text?.cloneNode(true));
  }

  /** @param {"idle" | "encrypting" | "sending" | "sent" | "failed"} state */
  #show(state) {
    const busy = state === "encrypting" || state === "sending";
    this.form.dataset.state = state;
    this.form.setAttribute("aria-busy", String(busy));
    // Not disabled: that would take the focus away from who pressed it.
    this.button.setAttribute("aria-disabled", String(busy));
    for (const field of this.#inputs()) {
      field.readOnly = busy;
      if (field.type === "file") field.disabled = busy; // it knows no readOnly
    }
    const said = busy ? this.#text(state)?.textContent ?? "" : "";
    // The same words again would be read aloud again.
    if (this.part("status").textContent !== said) this.part("status").textContent = said;
    this.part("failed").hidden = state !== "failed";
    this.part("sent").hidden = state !== "sent";
  }

  #inputs() {
    return Array.from(this.fields.querySelectorAll(/** @type {"input"} */ ("input, textarea")));
  }

  /** @param {Element} field */
  #changed(field) {
    this.#sealed = undefined;
    if (field.getAttribute("aria-invalid") === "true") this.#check(/** @type {HTMLInputElement} */ (field));
    if (this.#began) return;
    this.#began = true;
    // Without the encryption there is no use in writing on: say so at once.
    this.#open().catch((failure) => this.#explain(failure));
  }

  /** Loads the encryption, once, or again after it failed. */
  #open() {
    this.#sealer ??= this.#load().catch((failure) => {
      this.#sealer = undefined;
      throw failure;
    });
    return this.#sealer;
  }

  async #load() {
    const sealer = new Sealer();
    try {
      const fingerprint = (this.part("fingerprint").textContent ?? "").replace(/\s/g, "").toLowerCase();
      await sealer.ask("open", { armored: (this.part("key").textContent ?? "").trim(), fingerprint });
      return sealer;
    } catch (failure) {
      sealer.end();
      throw failure;
    }
  }

  /** @param {SubmitEvent} event */
  async #submit(event) {
    event.preventDefault();
    if (this.form.getAttribute("aria-busy") === "true") return;
    const wrong = this.#inputs().filter((field) => !this.#check(field));
    if (wrong[0]) return wrong[0].focus();
    this.#show("encrypting");
    try {
      await this.#send(await this.#open());
      this.form.reset();
      this.#sealed = undefined;
      this.#show("sent");
      this.part("sent").focus();
    } catch (failure) {
      this.#explain(failure, this.#text("kept"));
      this.part("failed").focus();
      if (failure instanceof Failure && ["load", "broken"].includes(failure.code)) this.#sealer = undefined;
    }
  }

  /**
   * Checks a field, and says beside it what is wrong, in the browser's words.
   * @param {HTMLInputElement} field
   * @returns {boolean}
   */
  #check(field) {
    const most = Number(field.dataset.most ?? Infinity);
    const size = Array.from(field.files ?? []).reduce((sum, file) => sum + file.size, 0);
    field.setCustomValidity(size > most ? this.#text("files")?.textContent ?? "" : "");
    const right = field.checkValidity();
    field.setAttribute("aria-invalid", String(!right));
    const error = document.getElementById(field.getAttribute("aria-describedby") ?? "");
    if (error) error.textContent = field.validationMessage;
    return right;
  }

  /** @param {Sealer} sealer */
  async #send(sealer) {
    for (let left = proofTries; left > 0; left--) {
      this.#show("encrypting");
      const { time, bits, most } = terms(await ask(this.#endpoint()));
      const body = this.#sealed ??= await sealer.ask("seal", this.#letter(time));
      if (body.length > most) throw new Failure("too_large");
      const proof = await sealer.ask("proof", { body, time, bits });
      this.#show("sending");
      try {
        await ask(this.#endpoint(), {
          method: "POST",
          headers: { "Content-Type": "application/pgp-encrypted", "X-Homing-Proof": proof },
          body,
        });
        return;
      } catch (failure) {
        if (left === 1 || !(failure instanceof Failure) || failure.code !== "stale_proof") throw failure;
      }
    }
  }

  #endpoint() {
    return this.form.dataset.endpoint ?? "";
  }

  /** @param {number} time */
  #letter(time) {
    const values = new FormData(this.form);
    /** @param {string} name */
    const value = (name) => String(values.get(name) ?? "").trim();
    const subject = this.form.dataset.subject ?? document.title;
    /** @type {[string, string][]} */
    const lines = this.#inputs().filter((field) => field.dataset.above && field.value.trim() !== "")
      .map((field) => [field.dataset.above ?? "", field.value.trim()]);
    const files = this.#inputs().flatMap((field) => Array.from(field.files ?? []));
    const name = value("name");
    return {
      letter: {
        subject: name === "" ? subject : `${subject}: ${name}`,
        name,
        address: value("address"),
        lines,
        text: String(values.get("text")),
      },
      files,
      time,
    };
  }

  /**
   * @param {unknown} failure
   * @param {HTMLElement} [before]
   */
  #explain(failure, before) {
    const { code, wait } = failure instanceof Failure ? failure : new Failure("broken");
    const reason = this.#text(code) ?? this.#text("refused");
    const minutes = reason?.querySelector("[data-minutes]");
    if (minutes && wait > 0) minutes.textContent = String(Math.ceil(wait / 60));
    const detail = reason?.querySelector("[data-code]");
    if (detail) detail.textContent = code;
    this.#show("failed");
    this.part("failed").replaceChildren(...[before, reason].filter((text) => text !== undefined));
  }
}

/**
 * Asks the edge worker, and returns what it answers in JSON.
 * @param {string} url
 * @param {RequestInit} [request]
 * @returns {Promise<any>}
 */
async function ask(url, request) {
  let answer, content;
  try {
    const signal = AbortSignal.timeout(patience);
    answer = await fetch(url, { ...request, signal, credentials: "omit", referrerPolicy: "no-referrer" });
    content = await answer.json();
  } catch {
    // Nothing came, or what came is not the worker's: a proxy's page, perhaps.
    throw new Failure(answer === undefined || answer.ok ? "offline" : "unavailable");
  }
  if (!answer.ok) throw new Failure(String(content.error), Number(answer.headers.get("Retry-After") ?? 0));
  return content;
}

/**
 * Checks what the worker asks for: whoever answers in its place may ask for anything.
 * @param {{ time: number, bits: number, most: number }} given
 */
function terms(given) {
  const { time, bits, most } = given;
  if (![time, bits, most].every(Number.isSafeInteger) || bits > mostBits) throw new Failure("bad_terms");
  return given;
}

if (!isSecureContext) throw new Error("the contact form works only on a page that came by HTTPS");
for (const form of document.querySelectorAll("form.homing-form")) {
  new ContactForm(/** @type {HTMLFormElement} */ (form));
}
