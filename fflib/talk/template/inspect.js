// What is wrong with the slide that is shown, for `preflight`: words that are cut off, small, or missing. At scale 1.
(() => {
  const slide = Reveal.getCurrentSlide();
  const frame = slide.querySelector(".frame");
  const found = { over: [], small: [], empty: false };
  const words = (node) => node.textContent.trim().replace(/\s+/g, " ").slice(0, 40);
  const note = (list, text) => { if (text && !list.includes(text)) list.push(text); };
  const isOver = (inner, outer, room = 1.5) =>
    inner.left < outer.left - room || inner.right > outer.right + room ||
    inner.top < outer.top - room || inner.bottom > outer.bottom + room;
  const walker = document.createTreeWalker(frame, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    const style = getComputedStyle(element);
    if (!words(node) || style.visibility === "hidden" || !element.getClientRects().length) continue;
    const figure = element.closest("svg");
    const unit = figure && element.getScreenCTM ? Math.abs(element.getScreenCTM().d || element.getScreenCTM().b) : 1;
    const pixels = parseFloat(style.fontSize) * (unit || Math.abs(element.getScreenCTM().b));
    if (pixels < LEAST_PX - 0.05) note(found.small, `${words(node)} (${pixels.toFixed(1)} px)`);
    const range = document.createRange();
    range.selectNodeContents(node);
    const place = figure ? element.getBoundingClientRect() : range.getBoundingClientRect();
    const isCutOnPurpose = style.textOverflow === "ellipsis";  // one line that ends in dots
    // Letters have air above and below, which may stand out of a tight line.
    if (!isCutOnPurpose && isOver(place, frame.getBoundingClientRect(), 5)) note(found.over, words(node));
    else if (figure && isOver(place, figure.getBoundingClientRect())) note(found.over, words(node));
  }
  for (const element of frame.querySelectorAll("*")) {
    if (element.closest("svg") && element.tagName !== "svg") continue;
    const style = getComputedStyle(element);
    const isCutOnPurpose = style.textOverflow === "ellipsis";
    if (!element.getClientRects().length || style.display === "inline") continue;
    if (isOver(element.getBoundingClientRect(), frame.getBoundingClientRect()) && !isCutOnPurpose)
      note(found.over, words(element) || element.tagName.toLowerCase());
    const hides = style.overflowX !== "visible" || style.overflowY !== "visible";
    if (hides && !isCutOnPurpose && element.scrollHeight > element.clientHeight + 2) note(found.over, words(element));
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) && parseFloat(style.fontSize) < LEAST_PX - 0.05)
      note(found.small, `${element.tagName.toLowerCase()} (${style.fontSize})`);
  }
  const demo = frame.querySelector(".demo");
  found.empty = demo ? !words(demo) : frame.children.length < 1;
  return found;
})()
