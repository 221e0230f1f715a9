const FONT = `system-ui, -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif`

interface Theme {
  card: string
  frame: string
  box: string
  accent: string
  ingress: string
  database: string
  ink: string
  quiet: string
}

const LIGHT: Theme = {
  card: '#ffffff',
  frame: '#d1d9e0',
  box: '#f6f8fa',
  accent: '#0969da',
  ingress: '#ddf4ff',
  database: '#fff8e6',
  ink: '#1f2328',
  quiet: '#59636e',
}

const DARK: Theme = {
  card: '#0d1117',
  frame: '#3d444d',
  box: '#161c24',
  accent: '#4493f8',
  ingress: '#10233d',
  database: '#2a2313',
  ink: '#f0f6fc',
  quiet: '#9198a1',
}

const colours = (theme: Theme): string => `
.card { fill: ${theme.card}; stroke: ${theme.frame} }
.service { fill: ${theme.box}; stroke: ${theme.accent} }
.ingress { fill: ${theme.ingress}; stroke: ${theme.accent} }
.database { fill: ${theme.database}; stroke: ${theme.quiet} }
.lip, .line { stroke: ${theme.quiet} }
.tip { fill: ${theme.quiet} }
text { fill: ${theme.ink} }
.quiet { fill: ${theme.quiet} }`

/** The card has a ground of its own, for an image follows the colour scheme of the browser, and the page around it may not. */
export const STYLE = `
text { font: 12px ${FONT} }
.name { font-size: 15px; font-weight: 600 }
.port { font-size: 13px; text-anchor: end }
.middle { text-anchor: middle }
.service, .ingress { stroke-width: 1.5 }
.lip, .line { fill: none; stroke-width: 1.5 }
.database { stroke-width: 1.5 }
.optional { stroke-dasharray: 6 5 }
${colours(LIGHT).trim()}
@media (prefers-color-scheme: dark) {${colours(DARK).replaceAll('\n', '\n  ')}
}`
