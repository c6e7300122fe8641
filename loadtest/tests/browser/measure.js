// What a person would see of the page in the frame, as numbers.
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const view = frame.contentWindow, page = frame.contentDocument;
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const luminance = ([red, green, blue]) => {
    const linear = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  };
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const body = view.getComputedStyle(page.body), paper = rgb(body.backgroundColor);
  const plots = [...page.querySelectorAll("svg")].map((svg) => {
    const box = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((text) => text.getBoundingClientRect());
    let overlapping = 0;
    for (const [at, one] of texts.entries())
      for (const other of texts.slice(at + 1))
        if (one.left < other.right && other.left < one.right && one.top + 3 < other.bottom && other.top + 3 < one.bottom) overlapping++;
    const marks = [...svg.querySelectorAll("polyline,circle,rect")];
    const colour = (mark) => {
      const style = view.getComputedStyle(mark);
      return rgb(mark.tagName === "polyline" ? style.stroke : style.fill);
    };
    return {
      width: box.width, right: box.right,
      smallest_text: Math.min(...texts.map((text) => text.height)),
      overlapping_texts: overlapping,
      marks: marks.length,
      contrast: Math.min(...marks.map((mark) => contrast(colour(mark), paper))),
    };
  });
  let json = true;
  try { JSON.parse(page.getElementById("report").textContent); } catch { json = false; }
  document.getElementById("facts").textContent = JSON.stringify({
    scroll_width: page.documentElement.scrollWidth,
    plots,
    contrast: contrast(rgb(body.color), paper),
    brightness: luminance(paper),
    resources: view.performance.getEntriesByType("resource").length,
    json_is_readable: json,
    verdict: page.querySelector(".verdict").textContent,
    text: page.querySelector("main").innerText,
  });
});
