// Resolves with the middle of the first element of `selector` that is shown, and that shows `text` where it is given:
// for a click (`reachable`) as its whole text, otherwise as a part. For a click it must stand still and lie on top.
(selector, text, reachable) => new Promise((resolve, reject) => {
  const patience = 30000;
  const started = performance.now();
  let before = "";
  const plain = (element) => element.textContent.replace(/\s+/g, " ").trim();
  const fits = (element) => text === null || (reachable ? plain(element) === text : plain(element).includes(text));
  const shown = (element) => {
    const { width, height } = element.getBoundingClientRect();
    return width > 0 && height > 0 && element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  };
  const search = () => {
    const found = [...document.querySelectorAll(selector)].filter((element) => fits(element) && shown(element));
    // The innermost: a text is also the text of all that surrounds it.
    return text === null ? found[0] : found.find((one) => !found.some((other) => other !== one && one.contains(other)));
  };
  const middle = (element) => {
    if (reachable) element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
    const { x, y, width, height } = element.getBoundingClientRect();
    return { x: x + width / 2, y: y + height / 2 };
  };
  const onTop = (element, { x, y }) => {
    const top = document.elementFromPoint(x, y);
    return top !== null && (element.contains(top) || top.contains(element));
  };
  const look = () => {
    const element = search();
    if (element) {
      const point = middle(element);
      const still = JSON.stringify(point) === before;
      if (!reachable || (still && onTop(element, point))) return resolve(point);
      before = JSON.stringify(point);
    }
    if (performance.now() - started < patience) return setTimeout(look, 20);
    const what = text === null ? selector : `${selector} with the text "${text}"`;
    return reject(new Error(`${what} ${element ? "cannot be clicked" : "is not shown"} within ${patience / 1000} s`));
  };
  look();
})
