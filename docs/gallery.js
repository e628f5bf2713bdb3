// Of each comparison in the gallery: the slider moves the edge, the list changes the right picture.
for (const figure of document.querySelectorAll(".compare")) {
  const [right] = figure.querySelectorAll("img");
  figure.querySelector("input").addEventListener("input", (event) =>
    figure.style.setProperty("--at", `${event.target.value}%`));
  figure.querySelector("select").addEventListener("change", (event) => {
    right.src = event.target.value;
    right.alt = event.target.selectedOptions[0].textContent;
  });
}
