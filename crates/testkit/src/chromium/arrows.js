// The arrows of System Architecture: from the service that each begins at to the one that it points at.
(() => {
  const distance = (element, { x, y }) => {
    const box = element.getBoundingClientRect();
    return Math.hypot(box.x + box.width / 2 - x, box.y + box.height / 2 - y);
  };
  const service = (path, length) => {
    const point = path.getPointAtLength(length).matrixTransform(path.getScreenCTM());
    const nodes = [...document.querySelectorAll(".DAG--node")];
    return nodes.sort((one, other) => distance(one, point) - distance(other, point))[0]?.textContent;
  };
  const paths = [...document.querySelectorAll(".DAG path[marker-end]")];
  return paths.map((path) => [service(path, 0), service(path, path.getTotalLength())]);
})()
