() => {
  const KEY = "generalist-demo-theme";
  const button = document.querySelector(".themes");
  const apply = (dark) => {
    document.body.classList.toggle("dark", dark);
    button.textContent = dark ? "Light theme" : "Dark theme";
  };
  let kept = null;
  try { kept = localStorage.getItem(KEY); } catch { /* storage may be off */ }
  apply(kept ? kept === "dark" : document.body.classList.contains("dark"));
  button.addEventListener("click", () => {
    const dark = !document.body.classList.contains("dark");
    apply(dark);
    try { localStorage.setItem(KEY, dark ? "dark" : "light"); } catch { /* then only for now */ }
  });
}
