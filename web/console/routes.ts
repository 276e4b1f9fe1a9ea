// The buttons of the table of routes: each asks the admin port what a person could ask it from a terminal.

const box = document.getElementById("routes");
if (box !== null) buttons(box);

function buttons(box: HTMLElement): void {
  const alarm = box.querySelector<HTMLElement>("[role=alert]")!;
  for (const button of box.querySelectorAll<HTMLButtonElement>("button[data-act]")) {
    button.hidden = false;
    button.addEventListener("click", () => void press(button));
  }

  async function press(button: HTMLButtonElement): Promise<void> {
    const model = button.closest<HTMLElement>("tr")!.dataset["model"]!;
    const act = button.dataset["act"]!;
    if (!window.confirm(`${button.textContent}: ${model}?`)) return;
    button.disabled = true;
    try {
      const reply = await fetch(`${box.dataset["api"]}/${encodeURIComponent(model)}/${act}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ who: "console" }),
      });
      if (reply.ok) return location.reload();
      const told = (await reply.json()) as { error?: string };
      tell(told.error ?? reply.statusText);
    } catch (fault) {
      tell(String(fault));
    }
    button.disabled = false;
  }

  function tell(text: string): void {
    alarm.textContent = text;
    alarm.hidden = false;
  }
}
